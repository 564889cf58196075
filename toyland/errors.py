"""The error for what a user can mend."""


class UserError(ValueError):
    """A setting or a folder that the user gave cannot be used. The message says what is wrong and what to do. It is not
    the class of the same name in `ldm`, since neither package imports the other; the commands show both alike."""
