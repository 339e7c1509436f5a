"""The patterns of the grammar, in the order in which they are tried; x is the old phrase, y the new one, w where."""

import re

from flowedit.language.english import COLOURS, COMPARATIVES, COUNTS, PLACES, SHADES, SIZES
from flowedit.language.senses import MOOD

# What an instruction talks about, beside objects.
WHOLE = (
    r"(?:(?:(?:the|this|my|our|whole|entire|full) )*(?:video|clip|footage|scene|movie|film|shot|picture|image|"
    r"frame|animation)s?|everything|all of it|the whole thing)"
)

IT = r"(?:it|this|that|them|him|her)"

BACKGROUND = (
    r"(?:(?:the|its|their|his|her|a|whole) )*"
    r"(?:back ?(?:ground|drop)|scenery|setting|surroundings|environment|location)"
    rf"(?: (?:of|in|from|behind) (?:{WHOLE}|{IT}))?"
)

SHADE = rf"(?:(?:{'|'.join(SHADES)})[ -])*(?:{'|'.join(COLOURS)})(?:ish)?"

COLOUR = rf"{SHADE}(?:(?: and |-and-|-){SHADE})*"

SUBJECT = r"(?P<x>\S+ .+?|(?!the\b|an?\b)\S+)"  # no article alone: in "make the orange blue" it is the orange

SIZE = rf"(?:{'|'.join([*SIZES, *COMPARATIVES])})"

STYLE = (
    r"\b(?:water ?colou?rs?|aquarelles?|paintings?|painted|anime|cartoons?|sketch(?:es)?|drawings?|comics?|manga|"
    r"mosaics?|claymation|clay|lego|art|illustrations?|engravings?|woodcuts?|origami|noir|impressionis[mt]|cubis[mt]|"
    r"frescos?|posters?|animations?|renders?|rendering|charcoal|graffiti|caricatures?|black and white|sepia|vintage|"
    r"cyberpunk|steampunk|ghibli|pixar|disney|van gogh|monet|picasso|8-bit)\b"
)

LOOK = r"(?:style|filter|look|effect|aesthetic)"

DEFINITE = r"(?:the|my|your|our|his|her|its|their|this|that|these|those|both|all)"


# Verbs, also as in "would you mind replacing ...".
SWAP = (
    r"(?:replac(?:e|ing)|(?:swap(?:ping)?|switch(?:ing)?|chang(?:e|ing))(?: out)?|substitut(?:e|ing)|exchang(?:e|ing)|"
    r"trad(?:e|ing))"
)

TURN = r"(?:(?:turn|transform|convert|morph|switch)(?:ing)?|(?:mak|chang)(?:e|ing))"

REMOVE = (
    r"(?:(?:remov|delet|eras|eliminat|hid)(?:e|ing)|discard(?:ing)?|get(?:ting)? rid of|tak(?:e|ing) (?:out|away|off)|"
    r"(?:cut|edit|paint)(?:ting|ing)? out|wip(?:e|ing) (?:out|away))"
)

ADD = r"(?:(?:add|insert|draw)(?:ing)?|put(?:ting)?(?: in)?|(?:includ|introduc|plac)(?:e|ing)|bring(?:ing)? in)"

SHOW = r"(?:show(?:ing)?|us(?:e|ing)|hav(?:e|ing)|let there be|there should be|give me)"

PAINT = r"(?:paint|repaint|colou?r|recolou?r|tint|turn|render)(?:ing)?|(?:mak|dy|chang)(?:e|ing)|switch(?:ing)?"

SET = r"(?:chang(?:e|ing)|set(?:ting)?|switch(?:ing)?|turn(?:ing)?|mak(?:e|ing))"

BECOME = r"(?:be|become|turn into|look like|be (?:turned|changed|transformed|converted) into|be replaced (?:with|by))"

MUST = r"(?:should|must|to|will|shall|has to|needs to|ought to)"

PUT = r"(?:put(?:ting)?|(?:plac|mov|relocat)(?:e|ing)|set(?:ting)?|transport(?:ing)?)"

TIME = r"the (?:time(?: of day)?|weather|season)"

TO_STYLE = (
    rf"(?:(?:make|making|turn|render|redraw|draw|paint|redo|show|put|restyle|stylise|stylize|style|convert|transform|"
    rf"change|do|have)(?: (?:{WHOLE}|{IT}))? )?"
)

_TABLE = (
    # A time, a season or a weather, for the whole clip.
    (
        "mood",
        rf"(?:(?:mak|chang)(?:e|ing)|turn(?:ing)?|set|have|let) (?:{WHOLE}|it|this|{TIME}) "
        rf"(?:(?:to be|to look like|be|look like|look|into|to) )?(?:an? )?(?P<y>(?:night|day)[ -]time|{MOOD})",
    ),
    ("mood", rf"(?:{TURN}) (?:day|night)(?:time)? (?:in ?to|to) (?P<y>{MOOD})"),
    # A style, for the whole clip.
    ("restyle", rf"{TO_STYLE}(?:look )?(?:in|into|to|with|as)? ?(?:the|a) (?:style|look|manner) of (?P<y>.+)"),
    ("restyle", rf"{TO_STYLE}(?:look )?(?:in|into|to|with) (?:an? |the )?(?P<y>.+?)[ -]{LOOK}"),
    ("restyle", rf"{SET} the (?:\w+ )?style(?: (?:of|in) (?:{WHOLE}|{IT}))? (?:to|into) (?P<y>.+?)(?: {LOOK})?"),
    (
        "restyle",
        rf"(?:apply|use|add|give (?:{WHOLE}|{IT})) (?:an? |the )?(?P<y>.+?) {LOOK}(?: (?:to|on) (?:{WHOLE}|{IT}))?",
    ),
    ("restyle", rf"(?:make|making|let|have) (?:{WHOLE}|{IT}) (?:look|appear|seem)(?: more)?(?: like| as)? (?P<y>.+)"),
    ("restyle", rf"(?:restyle|stylise|stylize) (?:{WHOLE}|{IT}) (?:as|to|like|into) (?P<y>.+)"),
    ("restyle", rf"(?:{TURN}|render|redraw|draw|paint|show) {WHOLE} (?:in ?to|to|as|in|like) (?P<y>.+)"),
    ("style", rf"(?:{TURN}|render|redraw|draw|paint|show) {IT} (?:in ?to|to|as|in|like) (?P<y>.+)"),
    ("style", rf"(?:{TURN}|render) (?:{WHOLE}|{IT}) (?P<y>.+)"),
    # The background.
    ("background", rf"(?:{SWAP}|{TURN}|set) {BACKGROUND} from (?P<x>.+?) (?:to|into) (?P<y>.+)"),
    (
        "background",
        rf"(?:{SWAP}|{TURN}|set) {BACKGROUND}(?: (?:to look like|to be|look like|with|by|to|for|into|as|be))? "
        r"(?P<y>(?!from ).+)",
    ),
    ("background", rf"(?:us(?:e|ing)|hav(?:e|ing)|put) (?P<y>.+?) (?:as|for) {BACKGROUND}"),
    ("background", rf"(?:add|use|give (?:{WHOLE}|{IT})) (?P<y>an? .+?) back ?(?:ground|drop)"),
    (
        "place",
        rf"{PUT} (?P<x>{IT}|{WHOLE}|{DEFINITE} .+?) "
        r"(?P<w>in front of|inside|into|onto|in|on|at|under|near|against|over|to) (?P<y>.+)",
    ),
    # A colour or a size.
    ("recolour", rf"{SET} (?:the )?colou?r of (?P<x>.+?)(?: from (?P<c>{COLOUR}))? (?:to|into|as) (?P<y>{COLOUR})"),
    ("recolour", rf"{SET} (?P<x>.+?)'s? colou?r(?: from (?P<c>{COLOUR}))?(?: to| into| as)? (?P<y>{COLOUR})"),
    ("recolour", rf"giv(?:e|ing) (?P<x>.+?) an? (?P<y>{COLOUR}) colou?r"),
    ("recolour", rf"(?:{SET}|{SWAP}) (?P<x>.+?) from (?P<c>{COLOUR}) (?:to|into) (?P<y>{COLOUR})"),
    (
        "recolour",
        rf"(?:{PAINT}) {SUBJECT} (?:(?:to be|be|look|in|into|to|as|all) )?(?P<y>{COLOUR})(?: in colou?r| colou?red)?",
    ),
    ("recolour", rf"(?P<x>.+?) (?:{MUST} (?:be|become|turn|look)) (?P<y>{COLOUR})"),
    (
        "resize",
        rf"{TURN} {SUBJECT} (?:(?:to be|be|look|into|to) )?"
        rf"(?:much |a lot |slightly |a (?:little )?bit |a little )?(?P<y>{SIZE})",
    ),
    # One object for another.
    (
        "replace",
        rf"{REMOVE} (?P<x>.+?)(?:,? and|,|;) (?:{ADD}|{SHOW}) (?P<y>.+?) (?:there|instead|in (?:its|their) .+)",
    ),
    ("replace", rf"instead of (?P<x>.+?),? (?:(?:i|we) (?:want|need)|i'd like|{ADD}|{SHOW}) (?P<y>.+)"),
    ("replace", r"instead of (?P<x>.+?), (?P<y>.+)"),
    (
        "replace",
        rf"(?:(?:{ADD}|{SHOW}|make it) )?(?P<y>.+?),? (?:instead of|in (?:the )?place of|rather than) (?P<x>.+)",
    ),
    ("replace", rf"substitut(?:e|ing) (?P<y>(?!{DEFINITE} ).+?) for (?P<x>{DEFINITE} .+)"),
    ("replace", rf"{SWAP} (?P<x>.+?)(?: out)? (?:with|by|for|into|to(?: be(?:come)?)?) (?P<y>.+)"),
    ("replace", rf"{TURN} (?P<x>.+?) (?:in ?to|to|become|be|look like|appear like|to look like|to be|as) (?P<y>.+)"),
    ("replace", rf"(?:let|have|having|make) (?P<x>.+?) {BECOME} (?P<y>.+)"),
    ("replace", rf"(?P<x>{DEFINITE} .+?) {MUST} {BECOME} (?P<y>.+)"),
    ("replace", rf"mak(?:e|ing) (?P<x>{DEFINITE} \S+) (?P<y>an? .+)"),
    ("replace", r"(?P<x>.+?) ?(?:->|→|=>) ?(?P<y>.+)"),
    # One object less, or one more.
    ("remove", rf"{REMOVE} (?P<x>.+?)(?: (?:from|out of|off) (?:{DEFINITE}|{WHOLE}) .+)?"),
    ("remove", r"(?:tak(?:e|ing)|cut(?:ting)?|edit(?:ing)?|wip(?:e|ing)) (?P<x>.+?) (?:out|away|off)(?: of .+)?"),
    ("remove", r"mak(?:e|ing) (?P<x>.+?) (?:disappear|vanish|go away|invisible)"),
    ("remove", rf"(?P<x>{DEFINITE} .+?) {MUST} (?:disappear|vanish|go(?: away)?|be (?:removed|gone|deleted|erased))"),
    ("remove", rf"(?P<x>{DEFINITE} .+?) (?:removed|gone|deleted|erased)"),
    ("give", rf"giv(?:e|ing) (?P<x>{DEFINITE} .+?) (?P<y>(?:an?|some|two|{COLOUR}) .+)"),
    ("give", rf"giv(?:e|ing) (?P<x>{DEFINITE} .+) (?P<y>\S+s)"),
    ("give", rf"giv(?:e|ing) (?P<y>.+?) to (?P<x>{DEFINITE} .+)"),
    ("add", rf"(?:{ADD}|let there be|there should be) (?P<y>.+?)(?: there)?(?: (?P<w>(?:to|{'|'.join(PLACES)}) .+))?"),
)

PATTERNS = tuple((kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in _TABLE)

LEADING = re.compile(
    r"(?:please|pls|plz|kindly|hey|hi|hello|ok(?:ay)?|so|well|now|first|then|just|simply|maybe|also|next|finally|and|"
    r"(?:would|do) you mind|(?:can|could|would|will) (?:you|we)|i(?:'d| would) (?:really )?(?:like|love|want|prefer)|"
    r"(?:i|we) (?:really )?(?:want|need|wish)|(?:for )?you to|to|see|try to|help me(?: to)?|let's|let us|go ahead and|"
    r"is it possible to)(?:[,:!]|(?= ))\s*",
    re.IGNORECASE,
)

TRAILING = re.compile(
    r"[ ,.!?]*\b(?:please|pls|plz|thanks|thank you|thx|cheers|(?:so|very) much|a lot|for me|if possible|"
    r"if you (?:can|could|would|don't mind)|will you|would you|okay|ok|right away|everywhere|"
    r"in (?:every|each|all)(?: the)? frames?)$",
    re.IGNORECASE,
)

HERE = re.compile(
    r"(?<! look| turn) (?:in|of|from|throughout|to) (?:this|the|my|our) (?:whole |entire )?"
    r"(?:video|clip|footage|scene|movie|film|shot|image|picture)\b",
    re.IGNORECASE,
)
"""The clip itself, which every instruction is about."""

KEEPING = re.compile(
    r",? (?:(?:but|and|while) )?(?:please )?(?:keep|keeping|leave|leaving|preserve|preserving|don't (?:change|touch)|"
    r"do not (?:change|touch)|without (?:changing|touching)) .*$",
    re.IGNORECASE,
)
"""A request to keep the rest, as an edit does anyway."""

INSTEAD = re.compile(r",? instead$", re.IGNORECASE)

NEGATION = re.compile(r"\b(?:don't|do not|dont|doesn't|never|not|cannot|can't|nor|neither|unless|if)\b", re.IGNORECASE)

JOINT = re.compile(r"\s*[,;.]?\s+(?:and then|and also|and|then|plus)\s+|\s*[,;.]\s+", re.IGNORECASE)

_NEXT = "|".join(["the", "an?", "my", "your", "his", "her", "its", "their", "this", "that", *COUNTS, r"\d+"])

SEVERAL = re.compile(
    rf"[;.] |;|\b(?:or|but|instead|then|also|please)\b|(?:\band|,) (?:{_NEXT}|{ADD}|{REMOVE}|{SWAP}|{TURN}|{PAINT}) ",
    re.IGNORECASE,
)
"""Signs that a text is more than one noun phrase."""

_GOES = r"(?:shadow|reflection)s?"

ALONG = re.compile(
    r"(?:,? (?:and(?: also)?|plus|with|along with|together with|including|as well as)|,) "
    rf"(?P<own>its|their|his|her) (?P<also>{_GOES}(?:(?:,? and|,) (?:(?:its|their|his|her) )?{_GOES})*)$",
    re.IGNORECASE,
)
"""What goes along with an object that is removed."""

DEGREE = re.compile(
    r"^(?:like|(?:more|less) of)\b|\b(?:more|less|bit|little|lot|much|somewhat|rather|just|exactly|slightly|almost|"
    r"sort of|kind of) (?:more |less )?like\b",
    re.IGNORECASE,
)
"""Words that say how much, and name no object."""

PAIR = re.compile(r"\b([\w-]+) and ([\w-]+)", re.IGNORECASE)

SIDE = re.compile(
    r" (?:on|in|at|to) the (?:(?:far )?(?:left|right|middle|cent(?:er|re)|background|foreground|front|back|top|"
    r"bottom|corner)(?: side| hand side)?)(?: of .+)?$",
    re.IGNORECASE,
)
"""Where in the frame an object is: no part of its name."""
