"""The error for problems that the user can fix."""


class UserError(ValueError):
    """A setting or a folder from the user is unusable. The message says what is wrong and how to fix it. `ldm` has its
    own class of this name, because neither package imports the other; the commands show both errors in the same way."""
