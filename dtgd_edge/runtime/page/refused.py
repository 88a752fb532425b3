"""The answer to a request that is not done."""


class Refused(Exception):
    """A request is refused.

    Attributes:
        status: of HTTP.
        text: one sentence for the person who asks.
        retry_after_s: when asking again may help; None: it will not.
        must_close: whether the connection cannot be used any more.
    """

    def __init__(
        self, status: int, text: str, retry_after_s: int | None = None, must_close: bool = False
    ) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.retry_after_s = retry_after_s
        self.must_close = must_close
