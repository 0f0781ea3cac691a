"""Render a recipe as its builder would, and print what it makes: envs/render_recipe.py RECIPE."""

import sys

from rattler_build import RenderConfig, Stage0Recipe, VariantConfig
from rattler_build.tool_config import PlatformConfig

recipe = Stage0Recipe.from_file(sys.argv[1])
platform = RenderConfig(platform=PlatformConfig(target_platform="linux-64"))
rendered = recipe.render(VariantConfig({"python": ["3.11", "3.12", "3.13"]}), platform)
if len(rendered) != 1:
    sys.exit(f"One package for all versions of Python was expected, and {len(rendered)} came out")
package = rendered[0].recipe.package
sys.stdout.write(f"{package.name} {package.version}\n")
