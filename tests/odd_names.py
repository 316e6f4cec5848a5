"""Names that a folder may have, with characters that mean something in a URL, a shell or a format."""

ODD = (
    "a?b", "a#b", "a%3Fb", "a b", "é τ", "it's", 'say "x"', "{x}", "a&b=c", "[1]", "a;b", "a:b", "a@b", "$x\\y", "a\nb",
)  # fmt: skip
ALL = "".join(ODD)
