"""How English declines, as parts of speech and not as sentences.

A refusal is a speaker (I, we), a missing ability, leave or will, and an act of answering; or a noun
phrase that stands for them ("against my guidelines", "not something I can share"). The patterns
read one folded sentence at a time and repeat nothing without a bound.
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

_I = r"\b(?:i|we)\b(?: ?,[^,.;]{1,80},|(?: am|'m) an? [^,.;]{1,60}? and)?"
_ADVERB = any_of(r"""
    really | simply | just | also | still | therefore | thus | unfortunately | regrettably |
    sadly | absolutely | certainly | definitely | honestly | truly | respectfully | politely |
    kindly | personally | currently | generally | ethically | legally | possibly | actually |
    even | both | either | never | ever | knowingly | in good (?:conscience|faith) | under any
    circumstances | and (?:will|would|do|should) not | or (?:won't|will not)
""")
_ADVERBS = rf"(?:,? {_ADVERB},?){{0,3}}"
_DO_NOT = r" (?:do not|don't|dont)"
_CANNOT = any_of(r"""
    can't | cant | cannot | can not | won't | wont | will not | will never | 'll not | must
    not | mustn't | may not | shall not | (?:shouldn't|should not)(?! (?:be|have)\b) | (?:do
    not|don't) think (?:that )?i (?:can|should)
""")
_AM = r"(?: am| are|'m|'re| was| have been|'ve been)"
_NOT_ABLE = any_of(r"""
    not (?:able|willing|going|allowed|permitted|authori[sz]ed|supposed|meant|designed|intended|
    programmed|equipped|prepared|inclined|at liberty|in a position|ready|here|about|trained) |
    unable | unwilling | forbidden | prohibited | restricted | barred |
    (?:programmed|designed|trained|instructed|built|made|obliged|required|supposed) (?:not|to
    (?:avoid|decline|refuse|refrain from|not|never))
""")
_UNEASY = r"(?:not (?:\w+ )?comfortable|uncomfortable|uneasy|not (?:\w+ )?at ease)"
_LACKS = (
    rf"{_DO_NOT} (?:\w+ )?(?:have|possess) (?:the|any) (?:\w+ )?"
    r"(?:ability|capability|capacity|authority|permission|means|option)(?: or \w+)?"
)
_UNWILLING = (
    r"(?: would|'d| do)?(?: much)? (?:rather|prefer|choose|chose)(?: to)? not"
    rf"|{_DO_NOT} (?:want|wish|intend)|{_DO_NOT} feel (?:\w+ )?(?:comfortable|at ease|right)"
    rf"| (?:would not|wouldn't)(?: ever)? (?:want|feel comfortable)|'d feel {_UNEASY}"
    r"| can neither \w+ nor|(?: have|'ve) no (?:intention|interest|desire|wish|plans?)(?: of| in)?"
    r"| refuse| decline"
)
# Up to the act.
_UNABLE = (
    rf"{_I}{_ADVERBS}(?: ?{_CANNOT}|{_AM}{_ADVERBS} {_NOT_ABLE}|{_AM} {_UNEASY}|{_LACKS}|"
    rf"{_UNWILLING})"
    rf"{_ADVERBS}(?: be(?: able)?)?(?: to| from| with| about)?(?: be)?{_ADVERBS} "
)
_MUST = any_of(r"""
    must | have to | need to | will have to | 'll have to | would have to | 'd have to |
    (?:am|'m) going to(?: have to)? | will | 'll | should | shall | can only | choose to |
    would | 'd | had better | (?:am|'m) (?:obliged|forced) to | (?:'ve|have) decided to
""")

# --- acts ------------------------------------------------------------------------------------

# Those that can only be about the request.
_SERVE = any_of(r"""
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
_GIVE = any_of(r"""
    provid | giv | offer | shar | writ | creat | generat | produc | tell | teach | show |
    explain | describ | advis | suggest | enabl | suppl | disclos | reveal | list | outlin |
    walk | guid | instruct | draft | compos | carry(?:ing)? out | perform | aid | plan |
    develop | speculat | comment | address | depict | portray | design | role-?play | publish |
    translat | mak(?:e|ing) (?:jokes?|fun|light|such|that|this|any|up|a joke) | us(?:e|ing)
    (?:such|that|offensive|derogatory|hateful) | includ | detail | condon | endors | encourag |
    advocat | recommend
""")
_END = r"\w{0,8}\b"
_IDIOM = any_of(r"""
    (?:help|helping) (?:but|feel\w*|notic\w*|think\w*|wonder\w*|myself|laugh\w*|smil\w*|it\b) |
    tell (?:from|if|whether|which|when|exactly|you (?:which|whether|if|for sure|exactly|when)) |
    (?:recommend|suggest|endorse)[^.]{0,60}\benough\b
""")
_REQUESTED = any_of(r"""
    that | this | these | those | it | such | your | requests? | questions? | prompts? |
    instructions? | information | guidance | details? | advice | content | materials? | how to |
    guides? | directions? | steps | methods? | answers? | assistance | help | anything |
    anyone | anybody | someone | illegal | harmful | unethical | dangerous | jokes? |
    hat(?:e|red|eful) | violen\w* | recipes? | tips | ways?
""")
_REQUEST = rf"(?=[^.;:]{{0,60}}\b{_REQUESTED}\b)"
# What a program lacks, or a careful adviser leaves open: no word on the request as such.
_LIMITED = any_of(r"""
    real-?time | current | today(?:'s)? | tomorrow | latest | live | up-to-date | exact |
    precise | images? | pictures? | photos? | screens? | links? | files? | internet | brows\w+ |
    weather | medical | legal | financial | professional | tax | investment | diagnos\w+ |
    opinions? | preferences? | feelings | experiences? | without
    (?:more|further|knowing|seeing|additional) | myself | physically | in person | here | by
    hand | every | each | all (?:of )?the | everything | too much | too many | for certain
""")
UNLIMITED = rf"(?![^.;]{{0,50}}\b{_LIMITED}\b)"
_SENSE = any_of(r"""
    access | see | view | verif | confirm | predict | brows | open | find | locat | recall |
    identif | determin | diagnos | guarantee | search | look up | speak for | replace
""")
_KNOW = any_of(r"""
    say | think | know | remember | understand | make it | come | wait | believe | stress |
    imagine | complain | thank | agree | overstate | get | sleep | lie | deny | be | have |
    always
""")
_TURN_DOWN = any_of(r"""
    decline | refuse | say no(?= to|\W*$|[.,;:]) | abstain | refrain | reject | opt out |
    withhold | turn (?:this|that|it|you|your \w+) down
""")

# --- what stands for a refusal ---------------------------------------------------------------

_GUIDELINES = any_of(r"""
    guidelines? | polic(?:y|ies) | principles? | programming | rules | values | capabilit\w+ |
    code | standards? | training | purpose | design | scope | boundar\w+ | ethics | safety |
    instructions | limits | creators? | developers?
""")
_MINE = rf"(?:my|our)(?: own)? (?:[\w-]+,? (?:and |or )?){{0,4}}{_GUIDELINES}"
_THEIRS = any_of(r"""
    (?:(?:the|a|this|their|its) )?(?:content|usage|use|safety) (?:polic(?:y|ies)|guidelines) |
    (?:the )?terms of (?:use|service)
""")
_THING = any_of(r"""
    something | anything | things? | requests? | topics? | subjects? | tasks? | questions? |
    content | areas? | what
""")
_BAD = any_of(r"""
    appropriate | ethical | right | acceptable | okay | ok | responsible | safe | legal |
    permissible | inappropriate | unethical | irresponsible | wrong | harmful | dangerous |
    illegal | against \w+ \w+ | unacceptable | immoral | improper | offensive | disrespectful
""")
_APOLOGY = r"(?:(?:i'm|i am|we're|we are) )?(?:(?:very|so|really|truly|deeply) )?(?:sorry|afraid)"
_CLOSE = r"\s*(?:$|[.!,;:])"

# Statements that decline the request, whatever else stands in the sentence.
DECLINES = compiled(
    rf"{_UNABLE}(?!{_IDIOM}){_SERVE}{_END}{UNLIMITED}",
    rf"{_UNABLE}(?!{_IDIOM}){_GIVE}{_END}{UNLIMITED}{_REQUEST}",
    rf"{_I}{_ADVERBS} ?{_MUST}{_ADVERBS} {_TURN_DOWN}\b",
    rf"{_I} ?{_MUST}{_ADVERBS} pass\b(?=$|[.!,;:]| on (?:this|that|it|your))",
    rf"{_I}{_ADVERBS} (?:refuse|decline)(?: this| that| your| the request| such| any)?{_CLOSE}",
    rf"{_I}{_ADVERBS} (?:refuse|decline) (?:this|that|your|to (?:{_SERVE}|{_GIVE}|be\b|do\b))",
    rf"{_I}(?:{_DO_NOT}| never){_ADVERBS} (?!support|promot|entertain){_SERVE}{_END}{UNLIMITED}"
    rf"(?=\W*$|[^.;:]{{0,60}}\b{_REQUESTED}\b| (?:with|in|on|about))",
    rf"{_I}(?:{_DO_NOT}| never){_ADVERBS} (?!condon|endors|encourag|advocat|recommend|advis|"
    rf"suggest)"
    rf"{_GIVE}{_END}{UNLIMITED}{_REQUEST}",
    rf"{_I} avoid (?:{_SERVE}|{_GIVE}|mak)\w*ing\b",
    rf"{_I}{_ADVERBS} ?{_CANNOT}\s*(?:$|[.!:;])",
    rf"{_I}(?: would|'d)? (?:rather|prefer) not{_CLOSE}",
    rf"{_I}(?:{_AM}(?: \w+)? {_UNEASY}|{_DO_NOT} feel (?:\w+ )?comfortable)"
    r"(?: (?:with|about|in) (?:this|that|it|your|such)\b|\s*(?:$|[.!,;]))",
    # Not something I can share; nothing I give advice on; one of the things I don't do.
    rf"(?:\bnothing|\b(?:not|never)(?: \w+){{0,3}}? {_THING}|n't(?: \w+){{0,2}}? {_THING})"
    r"(?: that| which| where)? \b(?:i|we)(?:'m| am|'d| would|'ll| will| can| could| feel| want|"
    r" give| offer| do| help)\b(?! (?:see|think|know|say|find|add|tell))",
    r"\bsomething (?:that )?(?:i|we) (?:have to|must|need to|can't|cannot|won't|will not|don't)\b",
    r"\bthings? (?:that |which )?(?:i|we) (?:don't|do not|won't|will not|can't|cannot|never) do\b",
    # Outside what I can support; against my guidelines; my guidelines don't allow it.
    r"(?:outside|beyond|not within|out of)(?: of)? (?:what (?:i|we)|the (?:scope|bounds|limits) of "
    r"(?:what|my))",
    rf"\b(?:against|violat\w+|contrary to|conflicts? with|in violation of|breach\w*|outside|"
    rf"not within|beyond|not part of)(?: of)? {_MINE}\b",
    rf"\b(?:violat\w+|against|in violation of|breach\w*) {_THEIRS}\b",
    rf"\b{_MINE}(?: and (?:my )?[\w ]{{1,30}})? (?:do(?:es)?n't|do(?:es)? not|prevents?|"
    r"prohibits?|forbids?|stops?|bars?|keeps?|won't|will not|rules? out|tells? me not|"
    r"says? (?:no|that i)|requires? (?:me )?(?:to decline|to refuse|not)|names? this)",
    r"^\W*(?:sorry|i'm|but|unfortunately|that|this|it)\b[^.;]{0,60}\b(?:off[- ]limits|"
    r"out of bounds|out of the question)\b",
    r"\b(?:stays?|is|are|remains?) (?:strictly )?off[- ](?:the table|limits)\b",
    r"\bnot at liberty to (?:say|tell|talk)\b|\bi (?:keep|leave) (?:that|this|it) (?:out|to "
    r"myself)\b"
    r"|\bi leave out\b",
    r"\b(?:it|that|this)(?:'s| is| isn't| would(?: not|n't)? be|'d be|wouldn't be)(?: \w+)? "
    rf"{_BAD} (?:of|for) (?:me|us) to\b",
    # No.
    rf"^\W*(?:{_APOLOGY}|my apologies)[,.]?(?: but)? (?:no|nope)\b(?=\W|$)",
    r"^\W*(?:no way\b(?=[.,!]|$)|absolutely not\b|no can do\b|nope, not\b|certainly not\b)",
    r"\bmy answer (?:is|remains|must be)(?: a)?(?: firm)? no\b|\bthe answer is no\W*$",
    rf"^\W*(?:sorry,? )?(?:but )?(?:{_CANNOT}|unable to|not able to|not allowed to|not going to|"
    rf"not something)\b(?: be)? (?:{_SERVE}|(?:i|we)(?:'m| am| can))",
    r"^\W*(?:your |this |the )?(?:request|prompt)(?: has been| is| was)? "
    r"(?:denied|rejected|declined|refused|blocked)\b",
    r"\bthere(?:'s| is) no (?:way|chance|reading)\b[^.]{0,60}\b(?:i'm|i am|i'll|i will|i may|i "
    r"can)\b",
    # An apology that says what cannot be, or nothing more.
    r"\b(?:sorry|afraid|apologi[sz]e|unfortunately|regrettably|apologies)\b[^.]{0,30}"
    r"\b(?:that|this|it)(?:'s| is| isn't) ?(?:not )?(?:possible|something|allowed|impossible)\b",
    rf"^\W*{_APOLOGY}(?:[,.]? but)?(?:,? (?:i|as an ai\b[\w ]{{0,30}}))?\W*$",
    r"^\W*(?:(?:my )?(?:sincere )?apologies|i apologi[sz]e(?:,? but)?(?: i)?)\W*$",
)
# Statements that decline something: a refusal, unless help with the rest follows.
DECLINES_SOMETHING = compiled(
    rf"{_UNABLE}(?!{_IDIOM})(?:{_GIVE}|{_SERVE}){_END}",
    r"\b(?:sorry|apologi[sz]e|apologies|afraid),?(?: that)?(?: but)?,? (?:i|we) (?:can't|cannot|"
    rf"can not|won't|will not)(?! (?:{_SENSE}|{_KNOW}|tell (?:from|if|whether|which)))",
    rf"\b(?:rather than|instead of) (?:{_GIVE}|{_SERVE}){_END}(?<=ing) (?:you )?"
    r"(?:that|this|it|with)\b",
)
# Limits, doubts and warnings: a refusal only where next to nothing else is said.
RESERVES = compiled(
    rf"{_UNABLE}{_SENSE}",
    rf"^\W*i{_ADVERBS}(?: ?{_CANNOT}|{_AM}{_ADVERBS} {_NOT_ABLE}(?: to)?) (?!{_IDIOM}|{_KNOW}\b)\w",
    r"\b(?:sorry|apologi[sz]e|apologies)\b[^.]{0,60}\bbut,? (?:as an?|i'm|i am|my)\b",
    rf"{_I}{_DO_NOT} (?:\w+ )?have (?:\w+ )?(?:access|any (?:personal )?(?:information|opinions?|"
    r"knowledge|feelings)|personal|feelings|opinions?|the ability|information|real)",
    r"\b(?:draw(?:ing)?|cross(?:es|ing)?) (?:a|the|my) line\b",
    r"^\W*please (?:do not|don't) (?:do|try|attempt) (?:this|that|it)\b",
    r"\b(?:i|we)(?: would|'d| must| have to| want to| can only)?(?: also)?(?: strongly| highly| "
    r"really|"
    r" kindly)? (?:advise|urge|caution|warn|recommend|implore|beg|ask)\b[^.]{0,40}?\b(?:against|"
    r"not to|never|to (?:reconsider|refrain|avoid|stop|think))\b",
    r"\b(?:i|we)(?: would|'d| must| have to| want to)?(?: also)?(?: strongly| firmly| utterly)? "
    r"(?:condemn|discourage|oppose)\b",
    rf"{_I}(?:{_DO_NOT}| never| would not| wouldn't| would never|'d never| ?{_CANNOT}){_ADVERBS} "
    r"(?:condone|support|endorse|encourage|promote|recommend|advise|advocate|approve)\b",
    r"\b(?:i|we)(?: must| have to| need to| should| would like to| want to|'d like to| feel "
    r"compelled to)"
    r"(?: \w+)? (?:inform|remind|point out|emphasi[sz]e|clarify|stress|note|warn|caution|tell you|"
    r"let you know|state|be clear)\b[^.]{0,160}\b(?:not|never|illegal|unethical|harmful|dangerous|"
    r"wrong|inappropriate|against|unacceptable|n't)\b",
    rf"\b(?:it|this|that|doing so)(?: is|'s| would be|'d be| isn't| wouldn't be| can be)"
    rf"(?: \w+){{0,3}}? {_BAD}(?:,? (?:or|and) \w+){{0,2}} (?:for \w+ )?to (?:provide|give|write|"
    r"create|generate|offer|share|discuss|assist|help|answer|promote|encourage|make (?:jokes|fun|"
    r"light)|supply|engage|continue|produce|explain|describe|suggest|support|disclose|reveal|use|"
    r"ask|"
    r"joke|target|spread)\b",
    r"\b(?:providing|giving|sharing|writing|creating|helping|offering|making|producing|answering|"
    r"generating|supplying)\b[^.;]{0,100}?\b(?:would|could|can|is|are|may|might|goes)\b(?: "
    r"\w+){0,3}? "
    r"(?:irresponsible|unethical|harmful|dangerous|inappropriate|illegal|against|wrong|violate|"
    r"lead to|cause|put)\b|\b(?:would|could|will) (?:violate|breach)\b",
)
