"""Porter's stems by NLTK and ROUGE by rouge-score: test/golden/text_features.json.

    pip install nltk==3.10.4 rouge-score==0.1.2
    python3 scripts/golden_text_features.py

With "all", no file is written: the words of the shipped data are printed, each with its stem."""
import json, random, re, sys
from nltk.stem.porter import PorterStemmer
from rouge_score.rouge_scorer import RougeScorer

PAPER = """caresses ponies ties caress cats feed agreed plastered bled motoring sing conflated troubled sized
hopping tanned falling hissing fizzed failing filing happy sky relational conditional rational valenci hesitanci
digitizer conformabli radicalli differentli vileli analogousli vietnamization predication operator feudalism
decisiveness hopefulness callousness formaliti sensitiviti sensibiliti triplicate formative formalize electriciti
electrical hopeful goodness revival allowance inference airliner gyroscopic adjustable defensible irritant
replacement adjustment dependent adoption homologou communism activate angulariti homologous effective bowdlerize
probate rate cease controll roll generalizations oscillators
skies dying lying news innings proceed spied died dies enjoy enjoyed fly spy geology theology hopefully rationally
by as is ed ing ies sses eed yes toy syzygy yyy y 2nd don't (quoted) end. u.s.""".split()


class Stems:
    stemmer = PorterStemmer()

    def tokenize(self, text):
        return [self.stemmer.stem(word) for word in text.split()]


def words(*names):
    texts = []
    for name in names:
        for line in open(f"data/{name}.train.jsonl"):
            row = json.loads(line)
            texts += [v for v in row.values() if isinstance(v, str)]
    return sorted(set(w for t in texts for w in re.findall("[a-z]+", t.lower()) if len(w) <= 64))


if sys.argv[1:] == ["all"]:
    for word in words("opinpref", "hh_harmless", "tulu_human"):
        print(word, Stems.stemmer.stem(word))
    sys.exit()

random.seed(15)
stems = PAPER + random.sample(words("opinpref", "hh_harmless"), 200)
pairs = [("", "a b"), ("a b", ""), ("...", "a b"), ("the cat", "The cat!"), ("police killed the gunman",
         "police kill the gunman"), ("the gunman kill police", "police killed the gunman"), ("a a a b", "a a c")]
rows = [json.loads(line) for line in open("data/opinpref.train.jsonl")]
for row in random.sample(rows, 6):
    pairs.append((row["rejected"].strip(), row["chosen"].strip()))
rouge = []
kinds = ["rouge1", "rouge2", "rougeL"]
for answer, reference in pairs:
    answer, reference = (t.encode("ascii", "ignore").decode() for t in (answer, reference))
    case = {"answer": answer, "reference": reference}
    for kind, score in RougeScorer(kinds).score(reference, answer).items():
        case[kind] = score.fmeasure
    for kind, score in RougeScorer(kinds, tokenizer=Stems()).score(reference, answer).items():
        case[kind + "_stem"] = score.fmeasure
    rouge.append(case)
with open("test/golden/text_features.json", "w") as out:
    out.write('{"stems":[\n' + ",\n".join(json.dumps([w, Stems.stemmer.stem(w)]) for w in stems))
    out.write('\n],"rouge":[\n' + ",\n".join(json.dumps(case) for case in rouge) + "\n]}\n")
