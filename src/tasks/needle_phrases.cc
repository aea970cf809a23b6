// The grammar of the essay-like haystack, and the sentences of the noise.

#include "tasks/needle_haystack.h"

namespace msa::needle {
namespace {

constexpr Phrase kPhrases[] = {
    // Who.
    {"trade",
     "baker|carpenter|nurse|gardener|tailor|librarian|painter|potter|farmer|fisherman|miller|"
     "cobbler|teacher|surveyor|printer|plumber|weaver|blacksmith|translator|pharmacist|"
     "beekeeper|mechanic|bookbinder|sculptor|postman|shepherd|violinist|photographer|"
     "locksmith|tutor|clerk|midwife|roofer|cook|bricklayer|dancer|pianist|glazier|"
     "watchmaker|innkeeper|ferryman|optician|editor|gamekeeper|joiner|cellist|journalist|"
     "programmer|welder|botanist|dentist|stonemason|singer|forester|draughtsman|waiter|"
     "lighthouse keeper|bus driver|piano tuner|school inspector|ship's cook|shop assistant"},
    {"trades",
     "bakers|carpenters|nurses|gardeners|tailors|librarians|painters|potters|farmers|"
     "fishermen|cobblers|teachers|surveyors|printers|plumbers|weavers|translators|beekeepers|"
     "mechanics|bookbinders|sculptors|shepherds|violinists|photographers|locksmiths|clerks|"
     "midwives|roofers|cooks|bricklayers|dancers|pianists|watchmakers|innkeepers|editors|"
     "joiners|journalists|programmers|welders|botanists|dentists|stonemasons|singers|"
     "foresters|waiters|sailors|builders|inventors|students|shopkeepers"},
    {"kin",
     "aunt|uncle|cousin|grandmother|grandfather|brother|sister|neighbour|landlady|"
     "godmother|nephew|niece|father|mother|colleague|tutor|first teacher|oldest friend"},
    {"temper",
     "patient|careful|stubborn|cheerful|retired|talkative|shy|gifted|clumsy|curious|"
     "generous|thrifty|modest|tireless|forgetful|absent-minded|elderly|kindly|"
     "impatient|serious|thoughtful|restless|gentle|proud|practical|hard-working"},
    {"person",
     "the {trade}|a {temper} {trade}|the old {trade}|a young {trade}|my {kin}|"
     "the {trade} next door|the {trade} across the road|a {trade} from {town}|"
     "a {temper} {trade} from {town}|the {temper} {trade}|a friend of my {kin}|"
     "the {trade} upstairs|a {trade} I met {place}"},
    {"group",
     "the {trades}|most {trades}|a few {trades}|several {trades}|the {trades} of {town}|"
     "the older {trades}|two or three {trades}|the best {trades}|young {trades}|"
     "many {trades}|the {trades} I know|nearly all {trades}"},
    // Where and when.
    {"town",
     "the coast|the hills|a small town|the next valley|the capital|a quiet suburb|the north|"
     "an island village|the old port|the market town|the lowlands|the river towns|"
     "the far side of the lake|a mining village|the border|the outskirts|the fens|"
     "a farming district|the mill town|the mountains"},
    {"in_town",
     "on the coast|in the hills|in a small town|in the next valley|in the capital|"
     "in a quiet suburb|in the north|on the island|in the old port|in the market town|"
     "in the lowlands|along the river|on the far side of the lake|in a mining village|"
     "near the border|on the outskirts|in the fens|in a farming district|in the mill town|"
     "in the mountains"},
    {"place",
     "in the kitchen|behind the chapel|by the river|in the back garden|at the station|"
     "near the harbour|in the reading room|at the edge of the wood|in the workshop|"
     "in a rented room|at the corner shop|on the upper deck|in the school hall|"
     "at the far end of the yard|along the canal|in the waiting room|on the hillside|"
     "outside the bakery|under the railway bridge|in the town hall|at the foot of the tower|"
     "in the orchard|across the square|on the way to the market|in the little museum|"
     "above the shop|on the night train|beside the old mill|on the ferry|at the post office"},
    {"spot",
     "on the long table|under the stairs|on the windowsill|beside the stove|in the attic|"
     "in the cellar|by the open window|behind the door|on the top shelf|in the hall|"
     "in the corner of the workshop|next to the bed|on the landing|in the shed|"
     "under the kitchen table|in the shop window|on the back step|at the end of the corridor|"
     "in the spare room|against the garden wall"},
    {"when",
     "one evening|last autumn|early one morning|that winter|after supper|the next day|"
     "during the long summer|on a wet afternoon|the year after|at the end of the week|"
     "before the first frost|one Sunday|late in the spring|when the rain had stopped|"
     "some years ago|on the last day of term|shortly before noon|in the middle of the night|"
     "during the holidays|on market day|once the harvest was in|by candlelight|"
     "a month later|at first light|after the storm|on the way home|towards evening|"
     "when the shops had closed|that same week|in the quiet hours before work"},
    {"often",
     "every morning|once a year|on most evenings|twice a week|now and then|at weekends|"
     "before breakfast|all through the winter|in any weather|whenever there is time|"
     "year after year|in the evenings|on quiet days|for an hour each day|from time to time|"
     "when nobody is watching|in the last light of the day|between two jobs"},
    {"span",
     "ten minutes|an hour|half a day|a whole week|a month|most of a year|two years|"
     "half a lifetime|an afternoon|three evenings|a long winter|twenty years|one weekend"},
    // What is done.
    Phrase{
        "did",
        "painted the kitchen door|sold the old bicycle|repaired the clock on the landing|"
        "wrote a long letter to the council|planted a row of pear trees|read the same novel twice|"
        "carried the boxes up to the attic|baked enough bread for the whole street|"
        "opened a small shop|learned to play the accordion|drew a map of the footpaths|"
        "kept a diary of the weather|lent me a pair of good boots|built a shed out of old doors|"
        "counted the swallows on the wire|rowed across the bay|mended the garden wall|"
        "gave away half of the books|took the slow train to the coast|"
        "walked the whole length of the valley|cooked soup for twelve|swept the yard|"
        "translated a book of fables|hung a lamp in the porch|repaired a leaking roof|"
        "copied the recipe by hand|photographed every bridge in the county|"
        "sewed a new curtain|taught the children to whistle|bought a second-hand piano|"
        "dug a pond for the ducks|sharpened all the tools|cleared the path of snow|"
        "made a kite out of brown paper|polished the brass|labelled every jar|"
        "traded a watch for a fishing rod|cut the hedge far too short|"
        "wrapped the glasses in newspaper|asked for a second opinion|"
        "put the letters in order|waited for the last bus|changed the lock|missed the ferry|"
        "lost the spare key|found an old coin under the floor|told a story about a lost ship|"
        "turned down a better offer|left the lights on|forgot the name of the street|"
        "tried a different glue|started again from nothing|laughed at the mistake|"
        "slept through the concert|shared the last of the cake|apologized to everyone"},
    {"do",
     "paint a door|repair a clock|write a good letter|plant a tree|read a map|bake bread|"
     "run a small shop|learn an instrument|keep a diary|build a wall without mortar|"
     "row a heavy boat|mend a net|give things away|walk for hours|cook for a crowd|"
     "translate a poem|fix a leaking tap|copy a drawing|take a clear photograph|sew a "
     "straight seam|"
     "teach a class|tune a piano|dig a well|sharpen a knife|fly a kite|tell a story|"
     "wait for an answer|ask for help|start again|admit a mistake|change a habit|"
     "explain a simple thing|finish what was begun|listen to a long complaint|"
     "sort old photographs|prune a rose|lay a hedge|bind a book|restore a chair|"
     "draw a circle by hand|measure twice|say no politely|grow good tomatoes|"
     "remember a name|follow a recipe|keep bees|sail alone|choose a gift|save a little money|"
     "read a contract|leave on time|raise a puppy|sing in tune|darn a sock"},
    {"doing",
     "baking bread|repairing clocks|writing letters|planting trees|reading maps|keeping bees|"
     "painting fences|learning a language|mending nets|walking in the hills|binding books|"
     "cooking for friends|translating poems|tuning pianos|drawing from life|"
     "teaching small children|growing vegetables|sharpening tools|telling stories|"
     "restoring old chairs|collecting stamps|rowing at dawn|sewing by hand|sailing alone|"
     "listening to the radio|pruning roses|watching birds|solving puzzles|"
     "building model ships|carving spoons|running a shop|singing in a choir|knitting socks|"
     "sorting photographs|playing chess by post|fishing from the pier|making cheese|"
     "riding a bicycle to work|laying bricks|keeping a diary|studying the stars|"
     "pressing flowers|dancing on Fridays|swimming in the sea|blowing glass|"
     "brewing tea properly|writing programs|fixing engines|cutting hedges|folding paper"},
    {"did_plural",
     "met {place}|argued about {idea}|agreed on very little|stayed until midnight|"
     "worked side by side|shared one lamp|sang old songs|told the same jokes|ate together|"
     "learned from each other|kept the door open|repaired the bridge themselves|"
     "voted against the plan|went home early|gave up their Sundays|started a choir|"
     "bought the empty mill|wrote to the newspaper|drank strong tea|sold their tools|"
     "moved to {town}|planted an orchard|waited for better weather|shook hands in the end"},
    {"could",
     "could {do}|could {do} and {do}|knew how to {do}|liked to {do}|hoped to {do}|"
     "had never tried to {do}|was afraid to {do}|refused to {do}|was the first to {do}|"
     "had promised to {do}|was too proud to {do}|had always wanted to {do}|"
     "could not {do}|had forgotten how to {do}|would rather {do} than {do}"},
    // Things.
    {"look",
     "heavy|wooden|painted|broken|borrowed|narrow|dusty|rusty|handsome|plain|polished|worn|"
     "copper|small|enormous|green|grey|yellow|striped|cracked|folding|crooked|"
     "forgotten|cheap|old-fashioned|brand-new|faded|sturdy|iron|elegant"},
    Phrase{
        "thing",
        "lamp|kettle|chair|bicycle|suitcase|clock|mirror|teapot|ladder|violin|cupboard|desk|"
        "typewriter|blanket|bookcase|wheelbarrow|radio|stove|lantern|telescope|drawer|trunk|"
        "toolbox|notebook|umbrella|sewing machine|barometer|birdcage|garden bench|rocking chair|"
        "letter box|fishing rod|sledge|jug|tray|picture frame|doorbell|basket|overcoat|saw|"
        "workbench|atlas|camera|music stand|rowing boat|piano stool|coffee grinder|weather vane"},
    {"object",
     "the {look} {thing}|a {look} {thing}|the {thing} {spot}|my {kin}'s {thing}|"
     "the {thing} from {town}|an old {thing}|the {look} {thing} {spot}"},
    {"things",
     "books|letters|tools|maps|shoes|apples|candles|photographs|plates|seeds|ropes|stamps|"
     "bottles|nails|stones|coins|ribbons|feathers|jars|newspapers|clocks|keys|drawings|"
     "tickets|shells|recipes|buttons|chairs|blankets|notebooks"},
    {"food",
     "bread|soup|apple cake|barley broth|goat's cheese|plum jam|roast potatoes|honey|"
     "pancakes|lentil stew|smoked fish|ginger biscuits|onion pie|corn cakes|rye bread|"
     "pickled cucumbers|rice pudding|chestnut stuffing|vegetable curry|toast and butter"},
    {"creature",
     "heron|fox|robin|swallow|hedgehog|otter|crow|owl|sparrow|cat|squirrel|deer|"
     "kingfisher|bat|snail|beetle|hare|goose|blackbird|badger"},
    Phrase{
        "weather",
        "the wind turned|the fog lifted|it began to snow|the rain came back|the sun went down|"
        "the river rose|the first leaves fell|a storm moved in|the frost broke|the clouds parted|"
        "the heat grew worse|the ice melted|the days grew shorter|the tide went out"},
    // Ideas and opinions.
    {"idea",
     "patience|curiosity|honesty|good luck|habit|silence|kindness|ambition|memory|attention|"
     "courage|boredom|practice|taste|freedom|doubt|pride|friendship|order|talent|hope|"
     "discipline|skill|experience|trust|humour|loneliness|comfort|routine|imagination|"
     "politeness|wisdom|generosity|fear|modesty|success|failure|leisure|money|fame|"
     "tradition|progress|craft|clarity|simplicity|precision|confidence|gratitude"},
    {"verdict",
     "harder to find|easier to lose|worth more in the end|less important|more useful|"
     "much rarer|slower to grow|quicker to fade|better company|a poorer guide|"
     "closer to happiness|more often praised|further from the truth|cheaper to keep"},
    {"lesson",
     "good work takes longer than anyone expects|small steps add up|nobody learns alone|"
     "a plain answer is often the best one|the first attempt is rarely the last|"
     "most quarrels begin with a misunderstanding|a good question is half of the answer|"
     "few things are as simple as they look|the tools matter less than the hands|"
     "habits are stronger than plans|people remember how they were treated|"
     "what is easy to make is easy to forget|every craft has its own kind of patience|"
     "the cheapest way is seldom the shortest|a mistake can be a good teacher|"
     "we notice only what we have learned to see|advice is best when it is short|"
     "there is more than one way to tell a story|rest is a part of work|"
     "nothing stays finished for long|luck favours those who get up early|"
     "a promise weighs more than a plan|one cannot hurry a garden|"
     "the best ideas arrive on foot|familiar things are the hardest to describe|"
     "it is better to ask than to guess|a town is made by those who stay|"
     "hands remember what the head forgets|praise is heavier than it looks|"
     "the details decide everything|a repair can be better than the original|"
     "old maps tell the truth about old roads|most secrets are dull"},
    {"cause",
     "the road was flooded|nobody had asked before|there was nothing else to do|"
     "the old one had cracked|the shop was closed|the children were asleep|"
     "the money had run out|the train was late|everyone else had gone home|"
     "the roof was leaking|it was the right thing to do|a neighbour had insisted|"
     "the doctor had advised it|the light was good|the winter had been mild|"
     "someone had to begin|the house felt empty|the instructions were missing|"
     "the bridge was closed|it seemed a pity not to|the letter never came|"
     "the weather was too fine to stay indoors|a friend was coming to stay"},
    Phrase{"how",
           "slowly|quietly|without a word|with great care|in a hurry|by hand|with some reluctance|"
           "as if nothing had happened|for no particular reason|with a smile|very badly at first|"
           "better than anyone expected|in complete silence|at last|"
           "to everyone's surprise|without any help|in the usual way|patiently"},
    {"think",
     "I believe|I suspect|it is clear to me|my {kin} used to say|most people would agree|"
     "I have come to think|it is an old saying|experience shows|I was told as a child|"
     "{group} will tell you|I still maintain|the years have taught me|I like to think"},
    {"feeling",
     "proud|relieved|a little ashamed|surprised|perfectly calm|tired but happy|uneasy|"
     "grateful|amused|disappointed|hopeful|homesick|wide awake|foolish|at home|lucky"},
};

constexpr std::string_view kPatterns[] = {
    "{when}, {person} {did}",
    "{person} {did} {how}",
    "{person} {did} because {cause}",
    "{person} {did}, and then {person} {did}",
    "{person} could {do}, though nobody in the family had ever done so",
    "{person} {could}, while {person} preferred {doing}",
    "{when}, {weather}, and {person} {did}",
    "before {weather}, {person} {did} and {did}",
    "{think} that {lesson}, and {person} agreed",
    "{lesson}, or so {person} told me {when}",
    "{idea} is {verdict} than {idea}, and {lesson}",
    "{idea} is {verdict} than {idea} when it comes to {doing}",
    "{span} of {doing} {in_town} taught me that {lesson}",
    "{doing} takes more {idea} than {doing}",
    "those who enjoy {doing} {in_town} seldom have time for {doing} {often}",
    "it takes {span} to learn how to {do}, and {span} more to {do} well",
    "I spent {span} {doing} {in_town} with {person}",
    "I spent {span} trying to {do}, and {person} only laughed",
    "{group} {did_plural}",
    "{group} {did_plural} and {did_plural}",
    "{when}, {group} {did_plural}, because {cause}",
    "{group} know that {lesson}, whatever {person} may say",
    "{group} would rather {do} than {do}",
    "if you ask {group}, {doing} is mostly a matter of {idea}",
    "{think} that there is a kind of {idea} that comes only from {doing} {often}",
    "there was {object}, and next to it lay {things} and {things}",
    "{object} belonged to {person}, who {did} {when}",
    "{person} had bought {object} {when}",
    "nobody wanted {object} until {person} {did}",
    "{spot}, {person} kept a {look} {thing} and a box of {things}",
    "a box of {things} stood {spot} until {weather}, when {person} {did}",
    "{object} was worth less than {object}, but {person} loved it",
    "we had {food} {place} while {person} talked about {doing}",
    "{person} served {food} and {food}, and we stayed until {weather}",
    "a meal of {food} tastes best after {span} of {doing} {in_town}",
    "a {creature} came to the window {when}, and {person} {did}",
    "{when}, I saw a {creature} and a {creature} {place}",
    "{person} pointed at the {creature} {place} and spoke of {idea}",
    "when {weather}, the {creature} was gone and {person} felt {feeling}",
    "I remember that {person} {did} {when}",
    "I do not remember why {person} {did}, only that {weather}",
    "what surprised me most was that {person} {could}",
    "what I admired in {person} was {idea}, and perhaps a little {idea}",
    "it was {person} who first showed me how to {do}",
    "it was {when} that {person} {did}",
    "as a child I wanted to {do}, but {person} thought that {lesson}",
    "as soon as {weather}, {group} {did_plural}",
    "whenever {person} spoke of {idea}, {person} became {feeling}",
    "without {idea} it is hard to {do}, and without {idea} it is impossible",
    "with enough {idea} and {span} of practice, anyone can {do} {often}",
    "{in_town}, some people {do} {often}, and others {do} only when they must",
    "you can {do} for {span} and still not {do} as well as {person}",
    "to {do} is one thing, to {do} {often} is quite another, and {lesson}",
    "{think} that the best time to {do} is {often}, when {idea} comes easily",
    "the trouble with {doing}, as {person} found out, is that it leaves no room for {doing}",
    "the first rule of {doing} is {idea}, and the second is {idea}",
    "the difference between {doing} and {doing} is largely one of {idea}",
    "the village remembers {person}, who {did} {how}",
    "the story goes that {person} {did} {when}, and {did}",
    "the plan was to {do} {place}, but {cause}, so {person} {did}",
    "the house {in_town} had a {look} {thing} {spot} and smelled of {food}",
    "the letter said that {person} {did} and felt {feeling}",
    "{person} felt {feeling}, although {cause}",
    "{person} felt {feeling} after {span} of {doing}",
    "{person} spoke about {idea} for {span}, and {group} listened",
    "{person} always said that {lesson}",
    "{person} {did} long before {weather}",
    "{person} and {person} {did_plural}",
    "{person} and {person} {did_plural}, because {cause}",
    "{person} gave me {object} and told me to {do} {often}",
    "{person} wrote about {doing} for {span}, {in_town}",
    "{person} never cared for {things}, but {did} {when}",
    "{person} was famous {in_town} for {doing}",
    "{person} came back from {town} with {object} and some {things}",
    "not everyone who likes {doing} can {do} or {do}, and that is a pity",
    "not until {weather} did anyone notice the {look} {thing} {spot}",
    "one of the {trades} {did}, and another {did}",
    "one does not need {object} to {do}, only {idea} and some {food}",
    "{think} that {idea} is only {idea} that has had {span} to grow",
    "perhaps {person} {did} because {cause}, or perhaps for no reason at all",
    "looking back on {span} of {doing}, {think} that {lesson}",
    "after {span} of {doing}, {person} {did}",
    "after {weather}, we found {things} and an old {thing} {spot}",
    "on the whole, {doing} has brought me more {idea} than {idea}",
    "{in_town}, {person} liked to {do} {often}",
    "{in_town}, {group} prefer {doing} to {doing}",
    "in those days {person} lived {in_town} and hoped to {do}",
    "for {span}, {person} did nothing but {do} and {do}",
    "from {person} I learned to {do}, and from {person} that {lesson}",
    "a {temper} {trade} and a {temper} {trade} rarely agree about {idea}",
    "a day of {doing} {in_town} ends, as a rule, with {food} and some {idea}",
    "my {kin} {could}, while my {kin} preferred {doing}",
    "my {kin} had a {look} {thing} {spot}, next to the {things}",
    "{group} often talk of {idea} and seldom of {idea}, yet {lesson}",
    "we went to {town} {when}, and {person} {did} {how}",
    "when {cause}, {person} {did} {how}",
};

constexpr std::string_view kNoise[] = {
    "The grass is tall.",
    "The sky is wide.",
    "The sun is warm.",
    "The grass is green and soft.",
    "The sky is blue today.",
    "The sun is bright and yellow.",
    "The clouds are white.",
    "The wind is mild.",
    "The hill is low.",
    "The road is long.",
    "The river is slow and clear.",
    "The trees are still.",
    "Off we go.",
    "Back we come.",
    "Over there we walk.",
    "Then we turn around.",
    "Here we are again.",
    "There we were before.",
    "We go out and we come home.",
    "Up the hill and down the hill.",
    "To the gate and back to the door.",
    "This way first, that way later.",
    "Once around the field and home.",
    "The day is young.",
    "The day is long and quiet.",
    "The air is fresh.",
    "The path is dry.",
    "The path goes on and on.",
    "The birds are in the trees.",
    "The light is good.",
    "On we go along the path.",
    "Now we stop, now we go.",
    "The sun goes up and the sun goes down.",
    "The sky is above the grass.",
    "The grass is below the sky.",
    "All is as it was.",
};

}  // namespace

std::span<const Phrase> essay_phrases() {
  return kPhrases;
}

std::span<const std::string_view> essay_patterns() {
  return kPatterns;
}

std::span<const std::string_view> noise_sentences() {
  return kNoise;
}

}  // namespace msa::needle
