"""English function words: the small words that hold a sentence together.

The closed classes of English grammar (Quirk et al. 1985): articles, pronouns, prepositions, conjunctions, auxiliaries, and contractions.
"""

ARTICLES = "a an the this that these those some any no every each either neither both all such what which whose"

PRONOUNS = """
i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his himself she her hers herself
it its itself they them their theirs themselves who whom one oneself someone anyone everyone nobody somebody anybody everybody
something anything everything nothing none other others another
"""

PREPOSITIONS = """
of in to for with on at by from about as into like through after over between out against during without before under around
among within along across behind beyond up down off above below near since until upon toward towards despite per via
"""

CONJUNCTIONS = "and or but nor so yet if then than because while although though unless whether when where why how that once whereas"

AUXILIARIES = """
be am is are was were been being do does did done doing have has had having will would shall should can could may might must ought cannot
"""

PARTICLES = "not there here too also just only very"

CONTRACTIONS = """
i'm i've i'd i'll we're we've we'd we'll you're you've you'd you'll he's he'd he'll she's she'd she'll it's it'd it'll they're they've
they'd they'll that's there's here's what's who's let's isn't aren't wasn't weren't don't doesn't didn't haven't hasn't hadn't won't
wouldn't shan't shouldn't can't couldn't mightn't mustn't
"""

FUNCTION_WORDS = frozenset(" ".join([ARTICLES, PRONOUNS, PREPOSITIONS, CONJUNCTIONS, AUXILIARIES, PARTICLES, CONTRACTIONS]).split())
