"""Registers the sweeper and the launcher of this project with Hydra."""

from hydra.core.plugins import Plugins


def register() -> None:
    """Register both as hydra_plugins.launch.*, the names in the configs: Hydra instantiates only plugins whose names
    start with hydra_plugins."""
    plugins = Plugins.instance()  # must come first: it loads Hydra's own plugins, which ours subclass
    from .packed_launcher import PackedLauncher
    from .sweeper import ManifestSweeper

    for plugin in (ManifestSweeper, PackedLauncher):
        plugins.register(plugin)
        plugins.class_name_to_class[f"hydra_plugins.launch.{plugin.__name__}"] = plugin
