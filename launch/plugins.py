"""The sweeper and the launcher of this project, made known to Hydra."""

from hydra.core.plugins import Plugins


def register() -> None:
    """Registers both under hydra_plugins.launch.*, as the configs call them: Hydra builds no plugin whose name begins
    otherwise."""
    plugins = Plugins.instance()  # this loads Hydra's own plugins anew, and ours build on them
    from .packed_launcher import PackedLauncher
    from .sweeper import ManifestSweeper

    for plugin in (ManifestSweeper, PackedLauncher):
        plugins.register(plugin)
        plugins.class_name_to_class[f"hydra_plugins.launch.{plugin.__name__}"] = plugin
