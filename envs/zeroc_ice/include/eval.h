// Slice.cpp of Ice 3.6 includes <eval.h> for PyEval_EvalCode. Python 3.11 has no such header any
// more: the function is declared by Python.h.
#include <Python.h>
