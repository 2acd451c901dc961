"""The one error type that a user's mistake ends in."""


class UserError(Exception):
    """A mistake that the user can mend: one line that says what is wrong and names the fix.

    Command lines print it as `error: ...` without a traceback and exit with status 2; library
    users may catch it.
    """
