"""The error for what a user can mend."""


class UserError(ValueError):
    """Something that the user gave cannot be used: a setting, a file, a folder. The message is one or two sentences
    that say what is wrong, where, and what to do. The commands show it without a traceback; any other error counts as a
    bug."""
