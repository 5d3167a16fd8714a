"""What a command can end with: one class per exit code."""


class ReaderError(Exception):
    exit_code = 4


class Damaged(ReaderError):
    """Bytes are missing or are not what SPEC.md says they must be."""

    exit_code = 4


class WrongKey(ReaderError):
    """The secret opens no slot, or the slot lacks a key."""

    exit_code = 12


class Unsupported(ReaderError):
    """A newer format, a required feature, an even tag or kind that this reader does not know."""

    exit_code = 14


class Usage(ReaderError):
    """The question cannot be asked like that."""

    exit_code = 2
