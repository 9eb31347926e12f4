"""English parts of speech that declining is made of, as patterns for one folded sentence.

Nothing is repeated without a bound, so that no text takes long.
"""

from __future__ import annotations

import re


def any_of(written: str) -> str:
    """Return one group for alternatives that are written over several lines: blanks around bars
    and behind line ends count for nothing."""
    alternatives = re.sub(r"\s*\|\s*", "|", re.sub(r"\n\s+", " ", written).strip())
    return f"(?:{alternatives})"


def compiled(*patterns: str) -> re.Pattern[str]:
    """Return one pattern, small and capital letters alike, for any of `patterns`."""
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE)


# --- who cannot, may not or will not ---------------------------------------------------------

SPEAKER = (
    r"(?<!if )(?<!when )(?<!unless )\b(?:i|we)\b"
    r"(?: ?,[^,.;]{1,80},|(?: am|'m) an? [^,.;]{1,60}? and)?"
)
ADVERB = any_of(r"""
    really | simply | just | also | still | therefore | thus | unfortunately | regrettably |
    sadly | absolutely | certainly | definitely | honestly | truly | respectfully | politely |
    kindly | personally | currently | generally | ethically | legally | possibly | actually |
    even | both | either | never | ever | knowingly | in good (?:conscience|faith) | under any
    circumstances | in any way | and (?:will|would|do|should) not | or (?:won't|will not)
""")
ADVERBS = rf"(?:,? {ADVERB},?){{0,3}}"
DO_NOT = r" (?:do not|don't|dont)"
CANNOT = any_of(r"""
    can't | cant | cannot | can not | won't | wont | will not | will never | 'll not | must
    not | mustn't | may not | shall not | (?:shouldn't|should not)(?! (?:be|have)\b) | (?:do
    not|don't) think (?:that )?i (?:can|should)
""")
AM = r"(?: am| are|'m|'re| will be|'ll be| was| have been|'ve been)"
NOT_ABLE = any_of(r"""
    not (?:able|willing|going|gonna|allowed|permitted|authori[sz]ed|supposed|meant|designed|
    intended|programmed|equipped|prepared|inclined|at liberty|in a position|ready|here|about|
    trained) | unable | unwilling | (?:choosing|opting|going) not | prevented | kept | forbidden |
    prohibited | restricted | barred |
    (?:programmed|designed|trained|instructed|built|made|obliged|required|supposed) (?:not|to
    (?:avoid|decline|refuse|refrain from|not|never))
""")
UNEASY = r"(?:not (?:\w+ )?comfortable|uncomfortable|uneasy|not (?:\w+ )?at ease)"
LACKS = (
    rf"{DO_NOT} (?:\w+ )?(?:have|possess) (?:the|any|a) (?:\w+ )?"
    r"(?:way|ability|capability|capacity|authority|permission|means|option)(?: or \w+)?"
)
UNWILLING = (
    r"(?: would|'d| do)?(?: much)? (?:rather|prefer|choose|chose)(?: to)? not"
    rf"|{DO_NOT} (?:want|wish|intend)|{DO_NOT} feel (?:\w+ )?(?:comfortable|at ease|right)"
    rf"| (?:would not|wouldn't)(?: ever)? (?:want|feel (?:comfortable|right))|'d feel {UNEASY}"
    r"| can neither \w+ nor|(?: have|'ve) no (?:intention|interest|desire|wish|plans?)(?: of| in)?"
    r"| refuse| decline"
)
# Up to the act.
UNABLE = (
    rf"(?:{SPEAKER}{ADVERBS}(?: ?{CANNOT}|{AM}{ADVERBS} {NOT_ABLE}|{AM} {UNEASY}|{LACKS}|"
    rf"{UNWILLING})|\b(?:and|but|so) am{ADVERBS} {NOT_ABLE})"
    rf"{ADVERBS}(?: be(?: able)?)?(?: to| from| with| about)?(?: be)?{ADVERBS} "
)
MUST = any_of(r"""
    must | have to | need to | will have to | 'll have to | would have to | 'd have to |
    (?:am|'m) going to(?: have to)? | will | 'll | should | shall | can only | choose to |
    would | 'd | had better | (?:am|'m) (?:obliged|forced) to | (?:'ve|have) decided to
""")

# --- acts ------------------------------------------------------------------------------------

# Those that can only be about the request.
SERVE = any_of(r"""
    help | assist | compl(?:y|ying) | fulfil | satisf | accommodat | hono(?:u?)r | grant |
    respond | answer | engag | participat | facilitat | cooperat | continu | proceed |
    entertain | process | act(?:ing)? on | go(?:ing)? (?:along|there|into|ahead|further|down) |
    support | promot | discuss | (?:be )?(?:a )?part (?:of|in) | of (?:any
    )?(?:help|assistance|service) | tak(?:e|ing) part | do(?:ing)?(?=\W*$|[.,;!]) | do(?:ing)?
    (?:that|this|it|so|such|either| anything|what you)\b(?! (?:in (?:one|a|two)|by
    (?:hand|\w+ing)|without|with (?:a|the)|until| before|myself)) | talk(?:ing)? about | say
    more | meet(?:ing)? (?:this|that|your) | step | involv | contribut
""")
# Those that hand something over; what it is tells whether it is the request.
GIVE = any_of(r"""
    provid | giv | offer | shar | writ | creat | generat | produc | tell | teach | show |
    explain | describ | advis | suggest | enabl | suppl | disclos | reveal | list | outlin |
    walk | guid | instruct | draft | compos | carry(?:ing)? out | perform | aid | plan |
    develop | speculat | comment | address | depict | portray | design | role-?play | publish |
    translat | mak(?:e|ing) (?:jokes?|fun|light|such|that|this|any|up|a joke) | us(?:e|ing)
    (?:such|that|offensive|derogatory|hateful) | includ | detail | condon | endors | encourag |
    advocat | recommend
""")
END = r"\w{0,8}\b"
IDIOM = any_of(r"""
    (?:help|helping) (?:but|feel\w*|notic\w*|think\w*|wonder\w*|myself|laugh\w*|smil\w*|it\b) |
    tell (?:from|if|whether|which|when|exactly|you (?:which|whether|if|for sure|exactly|when)) |
    answer for | tell you how (?:much|(?!many)\w+ (?:i|we)\b) |
    (?:recommend|suggest|endorse)[^.]{0,60}\benough\b
""")
REQUESTED = any_of(r"""
    that | this | these | those | it | them | one(?=\W*$|[.,;]) | such | your | requests? |
    questions? | prompts? | instructions? | information | guidance | details? | advice |
    content | materials? | how | guides? | directions? | steps | methods? | answers? |
    assistance | help | anything | anyone | anybody | someone | illegal | harmful |
    unethical | dangerous | jokes? | hat(?:e|red|eful) | violen\w* | recipes? | tips | ways? |
    walkthroughs? | tutorials? | exploits? |
    in any (?:form|framing|context|way|circumstances?)
""")
REQUEST = rf"(?=[^.;:]{{0,60}}\b{REQUESTED}\b)"
# What a program lacks, or a careful adviser leaves open: no word on the request as such.
LIMITED = any_of(r"""
    definit(?:e|ive) | exhaustive | personali[sz]ed | real-?time | current | today(?:'s)? |
    tomorrow | latest | live | up-to-date | exact | precise | images? | pictures? | photos? |
    screens? | links? | files? | internet | brows\w+ | weather | medical | legal | financial |
    professional | tax | investment | diagnos\w+ | opinions? | preferences? | feelings |
    experiences? | without (?:more|further|knowing|seeing|additional) | myself |
    (?<!to )physically | in person | here | by hand | every | each | all (?:of )?the(?:m|se)? |
    the (?:whole|entire) | everything | too much | too many | for certain | lightly | often |
    audio | videos? | sounds? | on your behalf
""")
UNLIMITED = rf"(?![^.;]{{0,50}}\b{LIMITED}\b)"
SENSE = any_of(r"""
    access | see | view | verif | confirm | predict | brows | open | find | locat | recall |
    identif | determin | diagnos | guarantee | search | look up | speak for | replace
""")
KNOW = any_of(r"""
    say | think | know | remember | understand | make it | come | wait | believe | stress |
    imagine | complain | thank | agree | overstate | get | sleep | lie | deny | be | have |
    always | attend | join | visit | travel | afford | pay | reach | accept | pretend | claim |
    sugar-?coat | bore | repeat | mind
""")
TURN_DOWN = any_of(r"""
    decline | refuse | say no(?= to|\W*$|[.,;:]) | abstain | refrain | reject | opt out |
    withhold | turn (?:this|that|it|you|your \w+) down
""")
