# look.sh - tokens, model folders and the machine looked at.
. "$(dirname "$0")/lib.sh"
make_data
make_lm

it "tokenize_shows_the_pieces_of_a_text"
printf 'the sky, \303\244 sea\n\000\377' > bytes
from bytes works ./more tokenize --model lm
awk -F '\t' 'NF != 2 || $1 !~ /^[0-9]+$/ || $2 !~ /^".*"$/ { bad = 1 } END { exit bad }' out ||
    fault "$(cat out)"
printf 'the sky over the sea' > words
from words works ./more tokenize --tokenizer lm/tokenizer.json
[ "$(cut -f 2 out | tr -d '"\n')" = "the sky over the sea" ] || fault "$(cat out)"
[ "$(wc -l < out)" -lt 15 ] || fault "nothing was learned"

it "a_vocabulary_learned_apart_is_the_one_that_training_learns"
works ./more tokenize --learn 300 --train text.jsonl --out v/w
same v/w/tokenizer.json lm/tokenizer.json

# the ids are those of transformers, 4 and 5
it "a_sentencepiece_model_says_where_its_folder_leaves_open_how_it_is_read"
mkdir pieces
cp "$root/test/golden/tokenizers/tokenizer.model" pieces
printf 'hello world' > words
for legacy in '' null true false; do
    [ -z "$legacy" ] || printf '{"legacy": %s}\n' $legacy > pieces/tokenizer_config.json
    from words works ./more tokenize --tokenizer pieces/tokenizer.model
    [ "$(cut -f 1 out | tr '\n' ' ')" = "552 284 647 417 " ] || fault "$(cat out)"
    case $legacy in
    true | false) lacks err legacy ;;
    *) counts 1 err '^pieces/tokenizer.model: .* does not say "legacy", true is taken' ;;
    esac
done
rm pieces/tokenizer_config.json
from words works ./more tokenize --tokenizer pieces/tokenizer.model --quiet
lacks err legacy

it "inspect_shows_what_a_folder_holds"
make_singles
works ./more inspect --model lm
holds out '^GPT-NeoX, language model: [0-9]* parameters$'
holds out ' 9600 numbers  rms .* gpt_neox\.embed_in\.weight$'
holds out ' 32 numbers  rms .* gpt_neox\.layers\.1\.attention\.dense\.bias$'
counts 27 out ' numbers  rms '
works ./more inspect --model s-b
holds out '^GPT-NeoX, reward model: '
holds out 'channels 32, layers 2, heads 2'
holds out 'a score head, pooling mean'

it "inspect_says_what_it_is_for_and_what_is_missing"
works ./more inspect --model lm
holds out '^lm: a Hugging Face folder$'
holds out '^weights: 27 tensors in 1 file, .* MB: 27 F32$'
holds out '^tokenizer: lm/tokenizer.json: [0-9]* pieces, [0-9]* merges; a text is encoded as it stands$'
holds out '^chat template: missing'
holds out '^end of text 0 "<|endoftext|>"; begin 0 "<|endoftext|>"; pad 1 "<|padding|>"$'
holds out '^for: more sample, score, compare, export;'
works ./more export --model lm --out lm.gguf --dtype q8_0
works ./more inspect --model lm.gguf
holds out '^lm.gguf: a GGUF file$'
holds out '^weights: 28 tensors .* MB: 18 F32 10 Q8_0$'
holds out '^weights sha256 '
counts 27 out ' numbers  rms '
holds out ' 9600 numbers  rms .* token_embd\.weight$'
works ./more inspect --model s-b
holds out '^for: more score, eval, doctor;'
holds out '^transformers cannot read a reward from the mean'
cp -r lm bare
rm bare/tokenizer*
works ./more inspect --model bare
holds out '^tokenizer: none that can be used: bare: there is no tokenizer.json'
works ./more inspect --model text.jsonl
holds out '^text.jsonl: a file, and no model'
printf '{"models": ["lm", "lm"], "weights": [0.25, 0.75]}\n' > mixture.json
works ./more inspect --model mixture.json
holds out '^mixture.json: a mixture of 2 policies$'
rm bare/model.safetensors
refused 66 "no model.safetensors here" ./more inspect --model bare
holds out '^bare: a Hugging Face folder$'

it "the_machine_and_the_gradients_of_a_model_can_be_checked"
works ./more selftest
holds out 'this machine keeps the contract$'
works ./more gradcheck --model lm
works ./more gradcheck --model s-b

finish
