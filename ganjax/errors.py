"""The one error type that a user's mistake ends in, and others' errors as one line."""


class UserError(Exception):
    """A mistake that the user can mend: one line that says what is wrong and names the fix.

    Command lines print it as `error: ...` without a traceback and exit with status 2; library
    users may catch it.
    """


def one_line(error: BaseException, *, longest: int = 200) -> str:
    """What an error of a library says, without line breaks; its type where it says nothing."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= longest else f"{text[:longest]} ..."
