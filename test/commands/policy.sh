# policy.sh - SFT, DPO, ULMA and the other policies, their reference, and their held-out numbers.
. "$(dirname "$0")/lib.sh"
make_data
make_lm
make_points
sed 's/"label":true/"score":4.5/; s/"label":false/"score":1.5/' points.jsonl > scores.jsonl
sed 's/"label":true/"score":1.0/; s/"label":false/"score":0/' points.jsonl > ones.jsonl

# keys FOLDER KEY...: every line of training has them
keys() {
    folder=$1
    shift
    steps=$(grep -c '"event":"train"' $folder/log.jsonl)
    for k in "$@"; do counts "$steps" $folder/log.jsonl "\"event\":\"train\".*\"$k\":"; done
}
# hash TEXT: the last command's hash is $one; or else TEXT.  other_hash TEXT: it is not
hash() { [ "$(sha)" = "$one" ] || fault "$1"; }
other_hash() { [ "$(sha)" != "$one" ] || fault "$1"; }

it "every_policys_loss_goes_down_and_its_folder_is_a_language_model"
for o in $objectives; do
    rows=18                                            # a step takes all rows
    [ $o != sft ] || rows=9
    works ./more train $o $policy --per_step_rows $rows --num_train_epochs 8 \
        --train "$(rows_of $o)" --eval a.test.jsonl --out p-$o
    cp err p-$o.err
    sed -n 's/.*"event":"train".*"loss":\([^,]*\),.*/\1/p' p-$o/log.jsonl > loss
    awk '{ x[NR] = $1 } END { exit !(NR == 8 && x[8] < x[1]) }' loss || fault "$o: $(cat loss)"
    holds p-$o.err '^a: accuracy [0-9.]*  margin '
    holds p-$o/config.json GPTNeoXForCausalLM
    holds p-$o/log.jsonl '"eval_a_accuracy":'
    holds p-$o/log.jsonl '"eval_a_perplexity":'
done

it "policies_log_rewards_log_probabilities_and_the_distance_from_the_start"
of_pairs="rewards/chosen rewards/margins rewards/accuracies logps/chosen logps/rejected"
for o in dpo ipo; do keys p-$o $of_pairs rewards/rejected kl kl_per_token; done
for o in orpo simpo; do keys p-$o $of_pairs; done
for o in pointwise-dpo ulma kto; do keys p-$o kl kl_per_token; done
for o in pointwise-dpo ulma unlikelihood kto; do
    for k in rewards/positive rewards/negative logps/positive logps/negative; do
        holds p-$o/log.jsonl "\"$k\":"
    done
done
holds p-kto/log.jsonl '"kl_mismatched":'
line='^step [0-9]*/[0-9]*  loss [0-9.]*  accuracy [0-9.]*  margin [-0-9.]*'
holds p-dpo.err "$line  chosen [-0-9.]*  [0-9]* tokens/s"
holds p-kto.err '^labels: 9 true, 9 false$'
holds p-sft.err '^points: 9 of 18 rows have the label true and are imitated$'

it "the_progress_line_of_pairs_has_the_means_of_the_last_logging_steps"
works ./more train dpo $policy --train a.train.jsonl --num_train_epochs 2 --logging_steps 4 --out x
# mean_of_last KEY FORMAT: its mean over the last four steps
mean_of_last() {
    grep '"train"' x/log.jsonl | tail -n 4 > last.jsonl
    field last.jsonl "$1" | awk -v format="$2" '{ sum += $1 } END { printf format, sum / 4 }'
}
accuracy=$(mean_of_last rewards/accuracies %.3f) margin=$(mean_of_last rewards/margins %.4f)
chosen=$(mean_of_last rewards/chosen %.4f)
holds err "^step 6/6  loss [0-9.]*  accuracy $accuracy  margin $margin  chosen $chosen  "
tail -n 1 last.jsonl > step6
[ "$(field step6 running_margin | awk '{ printf "%.4f", $1 }')" = "$margin" ] || fault "in the log"
holds step6 "\"running_accuracy\":"

it "a_policy_starts_as_its_reference_and_says_so"
agree='[0-9]* texts agree to the last bit; the loss starts at 0.693147 = log 2$'
for o in dpo pointwise-dpo; do holds p-$o.err "^the policy is the reference: $agree"; done
grep '"step":1,' p-dpo/log.jsonl > first
holds first '"loss":0.69314.*"rewards/accuracies":0.5,.*"kl":0,'

# ---------------------------------------------------------------------------------------- reference

again() { works ./more train dpo $policy --max_steps 2 --out p-again --resume no "$@"; }
kept=p-again/reference.bin

it "the_references_log_probabilities_are_computed_once"
again --train a.train.jsonl
one=$(sha)
holds err "^reference: 36 log-probabilities in [0-9.]* s, kept in $kept$"
again --train a.train.jsonl --beta 0.3 --seed 5
holds err "^reference: 36 log-probabilities of the same weights and texts from $kept$"
again --train a.train.jsonl --micro_batch_tokens 100
holds err "of the same weights and texts"
hash "another hash from the cache"
works ./more train dpo $policy --max_steps 1 --train a.train.jsonl --out x --reference_cache $kept
holds err "of the same weights and texts from $kept"

it "other_weights_texts_or_options_and_damage_make_the_reference_anew"
# from_sft: training from other weights
from_sft() {
    works ./more train dpo --model p-sft $cut --per_step_rows 6 --max_steps 1 \
        --train a.train.jsonl --out p-again --resume no
}
for other in "--train b.train.jsonl" "--train a.train.jsonl --eval a.test.jsonl" \
    "--train a.train.jsonl --max_prompt_length 10" "--train a.train.jsonl --precision bf16"; do
    again --train a.train.jsonl
    again $other
    holds err "reference.bin: of other weights, texts or options; computed again"
done
again --train a.train.jsonl
from_sft
holds err "reference.bin: of other weights, texts or options; computed again"
head -c 300 $kept > x.bin
cp x.bin $kept
from_sft
holds err "reference.bin: damaged; computed again"
mkdir folder
refused 66 "folder: " \
    ./more train dpo $policy --max_steps 1 --train a.train.jsonl --out x --resume no --reference_cache folder

# ------------------------------------------------------------------ what an objective makes of rows

it "ulma_with_demonstrations_alone_is_sft_and_without_any_is_pointwise_dpo"
works ./more train sft $policy --train demos.jsonl --logp mean --reduction joint --out x
one=$(sha)
works ./more train ulma $policy --train points.jsonl --logp mean --out x
other_hash "labels made no difference"
grep true points.jsonl > true.jsonl
works ./more train ulma $policy --train true.jsonl --logp mean --out x
hash "ulma is not sft"
refused 64 "choose --reduction joint" \
    ./more train sft $policy --train true.jsonl --logp mean --out x
works ./more train sft $policy --train true.jsonl --logp mean --reduction joint --out x
hash "true points are not demonstrations"
works ./more train ulma $policy --demos none --train points.jsonl --out x
one=$(sha)
works ./more train pointwise-dpo $policy --train points.jsonl --out x
hash "ulma without demonstrations is not pointwise-dpo"

it "scores_are_scaled_as_asked_and_pairs_are_two_points"
works ./more train ulma $policy --train scores.jsonl --score_scale symmetric --demo demos.jsonl \
    --out x
holds err '^scores from 1.5 to 4.5, mapped to \[-1, 1\], as numbers to reach$'
holds x/log.jsonl '"rewards/demos":'
holds x/log.jsonl '"rewards/scored":'
works ./more train kto $policy --train scores.jsonl --score_scale unit --labels binary --out x
one=$(sha)
holds err '^scores from 1.5 to 4.5, mapped to \[0, 1\], as soft labels$'
works ./more train kto $policy --train points.jsonl --out x
hash "the ends of the scale are not the labels"
works ./more train kto $policy --train a.train.jsonl --out x
holds err '^labels: 18 true, 18 false$'

it "demonstrations_are_looked_at_as_training_files_are"
echo '{"prompt":"why ","completion":"so"}' > blank.jsonl
ulma="./more train ulma $policy --train points.jsonl --demo blank.jsonl --out x"
works $ulma
holds err '^warning: blank.jsonl:1: the prompt ends in a space'
refused 65 "traps: 1" $ulma --eval blank.jsonl
holds err '^trap: blank.jsonl:1: the prompt is trained on (blank.jsonl:1), as in 1 of 1 rows'

it "compat_ulma_release_is_what_its_help_says"
works ./more train ulma $policy --compat ulma-release --train ones.jsonl --out x
one=$(sha)
holds err 'logp=mean  reduction=class-means'
works ./more train ulma $policy --logp mean --reduction class-means --train points.jsonl --out x
hash "its parts make something else"
works ./more train ulma $policy --logp mean --train points.jsonl --out x
other_hash "class means made no difference"

it "sft_imitates_completions_conversations_and_a_side_of_pairs"
works ./more train sft $policy --train a.train.jsonl --out x
one=$(sha)
sed 's/,"rejected":.*/}/; s/"chosen"/"completion"/' a.train.jsonl > chosen.jsonl
works ./more train sft $policy --train chosen.jsonl --out x
hash "not the chosen answers"
for side in rejected both; do
    works ./more train sft $policy --sft_on $side --train a.train.jsonl --out x
    other_hash "$side is chosen"
done
turns='{"role":"user","content":"sky"},{"role":"assistant","content":"blue"}'
echo "{\"messages\":[$turns]}" > chat.jsonl
works ./more train sft $policy --per_step_rows 1 --train chat.jsonl --eval chat.jsonl --out x \
    --force                                            # for it is its own evaluation
holds err '^chat: perplexity of the answers [0-9.]*, mean over texts [0-9.]*$'

# ------------------------------------------------------------------------------- several references

it "the_starting_model_among_references_is_as_without_them"
three="$policy --max_steps 3 --train a.train.jsonl --eval a.test.jsonl --resume no"
works ./more train dpo $three --out x
one=$(sha)
holds err 'a: accuracy '
grep '^a: accuracy ' err > want
for mix in mrpo mdpo; do
    works ./more train dpo $three --references lm lm --reference_mix $mix --out x
    hash "$mix: two that are equal"
    holds err '^2 references, of mean weights 0.500 0.500; 0 of the others. 68 log-'
    grep '^a: accuracy ' err > have
    same want have
done
works ./more train dpo $three --reference lm --out x
hash "the one reference is the starting model"
holds err '^1 reference$'

it "references_are_kept_each_in_its_file_and_mixed_as_asked"
works ./more train dpo $three --references lm p-sft --out x
mixed=$(sha)
holds err '^reference: 68 log-probabilities of the same weights and texts from x/reference.bin$'
holds err '^reference: 68 log-probabilities in [0-9.]* s, kept in x/reference.bin.2$'
holds err '^2 references, of mean weights 0.[0-9]* 0.[0-9]*; [1-9][0-9]* of the others. 68 log-'
[ "$mixed" != "$one" ] || fault "the second made no difference"
: > hashes
for how in "" "--reference_weights equal" "--reference_weights swapped" "--reference_clip 0" \
    "--reference_clip 1" "--reference_mix mdpo"; do
    works ./more train dpo $three --references lm p-sft $how --out x
    holds err '^reference: 68 log-probabilities of the same weights and texts from x/reference.bin.2$'
    sha >> hashes
done
[ "$(sort -u hashes | wc -l | tr -d ' ')" = 6 ] || fault "two ways are the same: $(cat hashes)"
[ "$(head -n 1 hashes)" = "$mixed" ] || fault "another hash from the cache"
works ./more train ipo $three --references p-dpo --out x
works ./more train ipo $three --references p-dpo p-dpo --reference_cache kept --out x
[ -s kept ] && [ -s kept.2 ] || fault "no files beside --reference_cache"

it "references_that_cannot_be_are_refused_and_the_remedy_named"
make_lm2
make_reward
refused 65 "--references lm2: another tokenizer than that of lm" \
    ./more train dpo $three --references lm lm2 --out x
refused 65 "a reward model, which predicts no tokens" \
    ./more train dpo $three --references lm r --out x
refused 66 "no-such: no such folder" ./more train dpo $three --references no-such --out x
refused 64 "--reference_clip says nothing without --references" \
    ./more train dpo $three --reference_clip 1 --out x
refused 64 "--reference_weights swapped: the authors' program has it for two references and mrpo" \
    ./more train dpo $three --references lm lm lm --reference_weights swapped --out x

# ---------------------------------------------------------------------------------- base responses

it "base_responses_of_the_start_stay_as_likely_with_a_large_lambda"
works ./more sample --model lm --prompts a.train.jsonl --max_prompt_length 48 --max_new_tokens 12
cp out base.jsonl
lines 18 base.jsonl
hard="$policy --learning_rate 1e-2 --per_step_rows 18 --num_train_epochs 12 --train a.train.jsonl"
works ./more train dpo $hard --out x
one=$(sha)
works ./more train dpo $hard --bapo_base base.jsonl --bapo_lambda 0 --out x
hash "a term of weight 0 made a difference"
last() { grep '"step":12,' x/log.jsonl > last.jsonl; field last.jsonl base_ratio_squared; }
free=$(last)
grep '"step":1,' x/log.jsonl > first
holds first '"base_ratio_squared":0,'
works ./more train dpo $hard --bapo_base base.jsonl --bapo_lambda 10 --out x
echo "$free $(last)" | awk '{ exit !($2 < $1 / 2) }' || fault "r^2 from $free to $(last)"
make_groups
works ./more train ipo $policy --max_steps 2 --train of.jsonl --bapo_base base.jsonl \
    --group_robust who --out x
sed '1s/"completion":"[^"]*"/"completion":" "/' base.jsonl > blank.jsonl
works ./more train dpo $policy --max_steps 1 --train a.train.jsonl --bapo_base blank.jsonl --out x
head -n 17 base.jsonl > few.jsonl
refused 65 "no row of --bapo_base has this prompt; more sample --prompts a.train.jsonl writes" \
    ./more train dpo $hard --bapo_base few.jsonl --out x
refused 65 "a.train.jsonl: pair data; --bapo_base takes prompts with completions" \
    ./more train dpo $hard --bapo_base a.train.jsonl --out x
refused 64 "--bapo_base is the answer of one reference" \
    ./more train dpo $hard --bapo_base base.jsonl --references lm lm --out x

# ------------------------------------------------------------------------- copies without phrases

it "copies_without_key_phrases_add_a_loss_that_starts_at_log_3_and_goes_down"
works ./more train dpo $hard --out x
one=$(sha)
works ./more train dpo $hard --spo_gamma 0 --out x
hash "a term of weight 0 made a difference"
lacks x/log.jsonl spo_loss
works ./more train dpo $hard --spo_gamma 0.5 --out x
other_hash "copies made no difference"
holds err '^copies without key phrases: 3 levels of 13 answers; 23 with too few phrases have none$'
sed -n 's/.*"spo_loss":\([^,]*\),.*/\1/p' x/log.jsonl > loss
awk '{ x[NR] = $1 } END { exit !(NR == 12 && x[1] - 1.098612 < 1e-6 && x[12] < 1.05) }' loss ||
    fault "$(cat loss)"
awk '/"step":1,/ { exit !/"loss":1.242453/ }' x/log.jsonl || fault "not log 2 + log 3 / 2"
counts 0 x/config.json spo
make_groups
works ./more train ipo $policy --max_steps 2 --train of.jsonl --group_robust who --spo_gamma 1 \
    --spo_levels 2 --bapo_base base.jsonl --out x
works ./more train dpo $policy --max_steps 2 --train b.train.jsonl a.train.jsonl --spo_gamma 1 --out x
sed 's/"chosen":"[^"]*"/"chosen":" it is"/; s/"rejected":"[^"]*"/"rejected":" of"/' a.train.jsonl \
    > stop.jsonl
refused 65 "stop.jsonl: no answer has key phrases for 3 different copies; a lower --spo_levels" \
    ./more train dpo $policy --train stop.jsonl --spo_gamma 1 --out x
refused 64 "--spo_levels says nothing without --spo_gamma" \
    ./more train dpo $policy --train a.train.jsonl --spo_levels 4 --out x
refused 64 "--spo_levels" ./more train dpo $hard --spo_gamma 1 --spo_levels 1 --out x

# --------------------------------------------------------------------------------- groups of rows

it "group_robust_training_weighs_the_worst_group_most_and_logs_it"
make_groups
robust="$policy --train of.jsonl --group_robust who --group_step 3 --num_train_epochs 8"
works ./more train dpo $robust --groups who.json --out x
one=$(sha)
few=$(grep -c h0 of.jsonl)
holds err "^2 groups by \"who\", of $few (few) to $((18 - few)) (many) rows$"
holds err '^step 24/24 .*  worst [a-z]* [0-9.]* (alpha 0.[0-9]*)  '
keys x "alpha/few" "alpha/many"
grep '"train"' x/log.jsonl > steps
field steps alpha/few > few.txt
field steps alpha/many > many.txt
paste few.txt many.txt | awk '{ if ((s = $1 + $2) < .99999 || s > 1.00001) exit 1 }' ||
    fault "the weights are not 1 together"
# alpha of each step from that before it and the step's losses; a group that is not there has none
works ./more train dpo $robust --groups who.json --group_loss mean --out x
grep '"train"' x/log.jsonl | awk '
    function field(key) {
        if (!match($0, "\"" key "\":[-0-9.e]+")) return 0
        return substr($0, RSTART + length(key) + 3, RLENGTH - length(key) - 3)
    }
    NR == 1 { few = many = .5 }
    {
        few *= exp(3 * field("group_loss/few"))
        many *= exp(3 * field("group_loss/many"))
        d = few / (few + many) - field("alpha/few")
        if (d > 2e-5 || d < -2e-5) exit 1
        few = field("alpha/few")
        many = field("alpha/many")
    }' || fault "alpha is not the closed form"
works ./more train dpo $robust --group_step 0 --groups who.json --out x
other_hash "the step made no difference"
# the likeliest types of a people.json
person() { printf '{"annotator":"%s","rows":6,"gamma":[%s]}' "$1" "$2"; }
works ./more train dpo $robust --groups who.json --out x
one=$(sha)
echo "{\"types\":2,\"people\":[$(person h0 0.1,0.9),$(person h1 0.5,0.5),$(person h2 1,0)]}" > people.json
works ./more train dpo $robust --groups people.json --out x
hash "types are other groups"
keys x "alpha/1" "alpha/2"
works ./more train dpo $robust --out x
holds err '^3 groups by "who", of '
keys x "alpha/h0" "alpha/h1" "alpha/h2"
works ./more train ipo $robust --group_adjust 2 --out x
keys x "alpha/h0"
cat > quoted.json <<'END'
{"h0":"few","h1":"the \"many\"","h2":"the \"many\""}
END
works ./more train dpo $robust --groups quoted.json --out x
holds err '^2 groups by "who", of '
counts 24 x/log.jsonl '"alpha/the \\"many\\"":'

it "groups_that_cannot_be_are_refused_and_the_remedy_named"
refused 65 'a.train.jsonl:1: nothing under "who", the key of --group_robust' \
    ./more train dpo $policy --train a.train.jsonl --group_robust who --out x
echo '{"h0":"few","h1":"many"}' > two.json
refused 65 'two.json: no group of "h2", which of.jsonl:' \
    ./more train dpo $policy --train of.jsonl --group_robust who --groups two.json --out x
sed 's/"h[012]"/"h"/' of.jsonl > alike.jsonl
refused 65 'all rows are of one group, "h", under "who"' \
    ./more train dpo $policy --train alike.jsonl --group_robust who --out x
awk '{ sub(/"who":"[^"]*"/, "\"who\":" NR); print }' of.jsonl of.jsonl of.jsonl of.jsonl > each.jsonl
refused 65 'more than 64 groups under "who"; --groups FILE puts its values into fewer' \
    ./more train dpo $policy --train each.jsonl --group_robust who --out x
refused 64 "--group_step says nothing without --group_robust" \
    ./more train dpo $policy --train of.jsonl --group_step 1 --out x
refused 66 "no-such.json" \
    ./more train dpo $policy --train of.jsonl --group_robust who --groups no-such.json --out x

# ------------------------------------------------------------------------------------ held-out rows

it "eval_of_policies_prints_what_training_printed_and_a_reference_has_no_reward"
works ./more eval $cut --reference lm --model DPO=p-dpo SimPO=p-simpo \
    --eval a.test.jsonl points.jsonl chat.jsonl --out p.jsonl
holds out '^a: 16 pairs, 16 prompts;'
counts 2 out '^DPO  \|^SimPO  '
auc='AUC 1*0*\.[0-9]* (95 % [0-9.]* \.\. [0-9.]*, [0-9]* prompts) of 9 good texts above 9 others'
holds out "^DPO on points: $auc  perplexity of good answers "
counts 6 p.jsonl '"event":"policy"'
grep '"event":"metrics","model":"DPO"' p.jsonl > metrics
grep '"eval_a_margin":' p-dpo/log.jsonl > last
field metrics margin > in_eval
field last eval_a_margin > in_training
same in_eval in_training
lines 1 in_eval
works ./more eval $cut --reference lm --model Start=lm --eval a.test.jsonl
holds out '^Start  *50.00 .* 1.000 '

it "chosen_answers_that_become_less_likely_are_explained"
awk '{ sub(/"chosen":" yes/, "\"chosen\":\" no"); print }' a.train.jsonl > alike.jsonl
hard="$policy --learning_rate 3e-2 --max_grad_norm 0 --num_train_epochs 20 --train alike.jsonl"
works ./more train dpo $hard --out x
less="chosen answers became less likely: their mean log-probability against the reference went from"
holds err "^$less [-0-9.]* in the$"
works ./more train orpo $hard --orpo_lambda 1000 --out x
grep '"event":"train"' x/log.jsonl > steps
field steps logps/chosen > logps
awk 'NR == 1 { first = $1 } { last = $1 } END { exit !(last < first) }' logps ||
    fault "under orpo they did not"
lacks err "asks for the difference alone"              # orpo imitates too

it "true_answers_alone_are_all_good"
for i in 1 2 3 4 5 6 7 8 9 10 11; do
    echo "{\"prompt\":\"a$i\",\"completion\":\" b\",\"label\":true}"
done > alone.jsonl
works ./more eval $cut --reference lm --model DPO=p-dpo --eval alone.jsonl
holds out 'perplexity of good answers [0-9.]*'

it "what_a_policy_cannot_be_trained_on_is_refused_and_the_remedy_named"
make_reward
make_lm2
grep false points.jsonl > false.jsonl
head -n 1 points.jsonl > one.jsonl
refused 65 "points.jsonl: point data; pairs or rankings are needed (chosen and rejected, or" \
    ./more train dpo $policy --train points.jsonl --out x
need="points (a completion with label or score) or pairs are needed"
refused 65 "demos.jsonl: completion data: found prompt, completion; $need" \
    ./more train kto $policy --train demos.jsonl --out x
need="completions, pairs or points are needed (train lm takes texts)"
refused 65 "text.jsonl: text data; $need" ./more train sft $policy --train text.jsonl --out x
need="pairs, points or completions are needed"
refused 65 "text.jsonl: text data; $need" \
    ./more train dpo $policy --train a.train.jsonl --eval text.jsonl --out x
need="pairs, rankings, points or completions are needed"
refused 65 "text.jsonl: text data; $need" \
    ./more eval $cut --reference lm --model p-dpo --eval text.jsonl
refused 65 "scores.jsonl:1: the score 4.5 does not say whether to imitate" \
    ./more train sft $policy --train scores.jsonl --out x
refused 65 "no row has the label true: nothing to imitate" \
    ./more train sft $policy --train false.jsonl --out x
refused 65 "scores from 1.5 to 4.5 where labels are needed" \
    ./more train kto $policy --train scores.jsonl --out x
refused 65 "scores from 1.5 to 4.5 are no labels; --score_scale unit" \
    ./more train ulma $policy --labels binary --train scores.jsonl --out x
refused 65 "--score_scale: every score is 1" \
    ./more train ulma $policy --score_scale unit --train alone.jsonl --out x
refused 64 "--demos positives: scores have no positives" \
    ./more train ulma $policy --demos positives --train scores.jsonl --out x
refused 65 "all rows have one prompt; kto's KL needs answers to other prompts" \
    ./more train kto $policy --per_step_rows 1 --train one.jsonl --out x
refused 64 "--model is needed: the folder to start from" \
    ./more train sft $cut --train demos.jsonl --out x
refused 65 "a reward model, which predicts no tokens" \
    ./more train dpo --model r $cut --train a.train.jsonl --out x
refused 66 "no-such" ./more eval $cut --reference no-such --model p-dpo --eval a.test.jsonl
refused 65 "has another tokenizer than the reference" \
    ./more eval $cut --reference lm2 --model p-dpo --eval a.test.jsonl
refused 64 "--label_smoothing 0.6: a number" ./more train dpo $policy --label_smoothing 0.6
if command -v sha256sum > x.out; then                  # a cache of the right key, other numbers
    again --train a.train.jsonl
    {
        head -c 80 $kept
        head -c 288 /dev/zero
    } > x.bin
    {
        cat x.bin
        sha256sum < x.bin | head -c 64
    } > $kept
    refused 65 "$kept is not of these weights; remove it" \
        ./more train dpo $policy --train a.train.jsonl --out p-again --resume no
fi

it "policies_leave_a_fold_out_and_eval_takes_it_alone"
for f in 0 1; do
    works ./more train sft $policy --per_step_rows 3 --max_steps 2 --train a.train.jsonl \
        --folds 2 --fold $f --out fold-$f
    works ./more eval $cut --reference lm --model p=p-dpo --eval a.test.jsonl \
        --folds 2 --fold $f --out fold.$f
done
differ fold-0/model.safetensors fold-1/model.safetensors "two folds, one policy"
sed -n 's/.*"event":"policy".*"n":\([0-9]*\).*/\1/p' fold.0 fold.1 |
    awk '{ n += $1 } END { exit n != 32 || NR != 2 }' || fault "folds"
head -n 1 a.train.jsonl > one.jsonl
for f in 0 1; do                                       # the one row is in one of the two folds
    ./more train sft $policy --per_step_rows 1 --train one.jsonl --folds 2 --fold $f --out w 2>&1
done > both.out
holds both.out "one.jsonl: no rows outside fold [01] of 2"

it "sft_imitates_all_turns_of_a_conversation_or_the_last"
says() { printf '{"role":"%s","content":"%s"}' "$1" "$2"; }
talk="$(says user "a sky"),$(says assistant "is blue")"
talk="$talk,$(says user "a sea"),$(says assistant "is too")"
printf '{"messages":[%s]}\n{"messages":[%s]}\n' "$talk" "$talk" > talk.jsonl
printf '{"prompt":"\\n\\nHuman: a sky\\n\\nAssistant: is blue' > x1
printf '\\n\\nHuman: a sea\\n\\nAssistant:",' >> x1
printf '"completion":" is too"}\n' >> x1
cat x1 x1 > last.jsonl
sft="./more train sft --model lm --max_length 200 --max_prompt_length 100 --per_step_rows 2 --force"
works $sft --train last.jsonl --out x
want=$(sha)
works $sft --train talk.jsonl --train_turns last --out x
[ "$(sha)" = "$want" ] || fault "the last turn is another than as a completion"
holds err '^talk: 2 of 4 turns of the assistant are targets, the last of each conversation$'
works $sft --train talk.jsonl --out x
[ "$(sha)" != "$want" ] || fault "only the last turn is imitated"
holds err '^talk: 4 of 4 turns of the assistant are targets$'
run ./more doctor --model lm --train talk.jsonl --max_length 200 --max_prompt_length 100 \
    --objective sft --rows 1
holds out '^    4 of 4 turns of the assistant are targets$'
tr '\n' ' ' < out | sed 's/  */ /g' > x1
holds x1 ' blue"[*] 0"<|endoftext|>"[*] [0-9]*"\\n" [0-9]*"\\n" .*"o"[*] 0"<|endoftext|>"[*] '

finish
