"""HTML mail as text."""

import pytest

from notifications.plain_text import text_from_html


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>One\n  line</p><p>Two</p>", "One line\n\nTwo"),
        ("Fish &amp; chips&nbsp;&lt;3", "Fish & chips <3"),
        ("One<br>Two<br/>Three", "One\nTwo\nThree"),
        ("<ul><li>a</li><li>b</li></ul>", "- a\n- b"),
        ('<a href="https://shop.example/1">Your order</a>.', "Your order (https://shop.example/1)."),
        ('<a href="https://shop.example">https://shop.example</a>', "https://shop.example"),
        ('<a href="mailto:a@b.example">a@b.example</a>', "a@b.example"),
        ('<a href="#top">Up</a>', "Up"),
        ("<head><title>T</title><style>p{}</style></head><body><script>x()</script>Hi</body>", "Hi"),
        ('<img src="x.png" alt="A cat">', "A cat"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc"),
        ("unclosed <b>bold <p>next", "unclosed bold\n\nnext"),
        ("</style></a>stray ends", "stray ends"),
        ("", ""),
    ],
)
def test_html_reads_well_as_text(html, text):
    assert text_from_html(html) == text
