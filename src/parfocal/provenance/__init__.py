"""The records of attempts, and the run crates made from them."""
