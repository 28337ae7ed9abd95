# options.sh - the commands and their options; what has which is said here a second time, apart
# from the program's table.
. "$(dirname "$0")/lib.sh"

all="threads quiet help"
data="precision micro_batch_tokens max_length max_prompt_length over_length template prompt_key
      chosen_key rejected_key bad_rows"
training="$data train eval out dtype learning_rate num_train_epochs max_steps weight_decay
          adam_beta1 adam_beta2 adam_epsilon max_grad_norm warmup_ratio lr_scheduler_type
          logging_steps eval_steps save_steps save_minutes keep resume diary seed recompute force
          load_best best_metric early_stopping_patience lora_r lora_alpha lora_targets base_dtype"
rewards="$training pairs head_rate freeze per_step_pairs pooling random_weights raw_head folds fold"
policies="$training pairs per_step_rows folds fold"
points="logp reduction labels score_scale"
reference="beta reference_cache"
references="$reference references reference_mix reference_weights reference_clip"
base="bapo_base bapo_lambda"
copies="spo_gamma spo_levels spo_head_rate"
rollouts="precision micro_batch_tokens max_length max_prompt_length template prompt_key chosen_key
          rejected_key bad_rows train eval out dtype learning_rate num_train_epochs max_steps
          weight_decay adam_beta1 adam_beta2 adam_epsilon max_grad_norm warmup_ratio
          lr_scheduler_type logging_steps eval_steps save_steps save_minutes keep resume diary seed
          recompute force load_best best_metric early_stopping_patience per_step_rows folds fold prompts logp reduction reward
          reward_mix reward_max_length reward_max_prompt_length reference beta n max_new_tokens stop
          batch length_share model lora_r lora_alpha lora_targets base_dtype"
groups="group_robust groups group_step group_loss group_adjust"
rows="template prompt_key chosen_key rejected_key bad_rows"
drawing="temperature top_k top_p min_p repetition_penalty max_new_tokens stop batch seed"
prompts="prompts precision max_prompt_length template prompt_key chosen_key rejected_key
         bad_rows"
judging="judge reward_mix judge_max_length judge_max_prompt_length micro_batch_tokens max_length
         out folds fold"

# options_of COMMAND: "..." is for those of an objective that is not listed here
options_of() {
    echo $all
    case "$1" in
    selftest | diff | report | man | completion | "train rloo" | "train grpo" | "train ppo") ;;
    identify) echo seed ;;
    consistency) echo answer gold out ;;
    export) echo model tokenizer out dtype force ;;
    inspect | gradcheck) echo model ;;
    "train features") ;;
    explain) echo model ;;
    *) echo model tokenizer ;;
    esac
    case "$1" in
    "train lm")
        echo $training then per_step_tokens
        echo vocab_size hidden_size num_hidden_layers num_attention_heads ;;
    "train reward") echo $rewards $groups top ;;
    "train more") echo $rewards more normalize alpha top ;;
    "train sft") echo $policies logp reduction sft_on train_turns ;;
    "train dpo") echo $policies logp $references $base $copies $groups label_smoothing top ;;
    "train ipo") echo $policies logp $references $base $copies $groups ;;
    "train pointwise-dpo") echo $policies $points $reference log_z ;;
    "train ulma") echo $policies $points $reference log_z demo demos sft_on compat ;;
    "train unlikelihood") echo $policies $points ;;
    "train kto") echo $policies $points $reference desirable_weight undesirable_weight ;;
    "train orpo") echo $policies logp orpo_lambda ;;
    "train simpo") echo $policies logp beta simpo_gamma ;;
    "train stored") echo $policies $points demo sft_on demo_share ;;
    "train rloo") echo $rollouts ;;
    "train grpo") echo $rollouts ppo_epochs clip_range ;;
    "train ppo") echo $rollouts ppo_epochs clip_range critic discount gae_lambda critic_rate ;;
    "train features")
        echo train eval out $rows pairs top seed folds fold features feature_range layers activation
        echo num_train_epochs per_step_pairs learning_rate warmup_ratio weight_decay max_grad_norm
        echo adam_beta1 adam_beta2 adam_epsilon search search_folds ;;
    explain) echo eval train $rows pairs features out seed ;;
    "train em")
        echo train out dtype $data num_train_epochs max_steps recompute learning_rate
        echo lora_r lora_alpha lora_targets base_dtype
        echo top pairs lr_scheduler_type warmup_ratio max_grad_norm weight_decay adam_beta1 adam_beta2
        echo adam_epsilon logging_steps save_steps save_minutes keep diary seed force $reference
        echo label_smoothing logp per_step_rows
        echo per_step_pairs head_rate freeze pooling raw_head random_weights folds fold
        echo objective by types em_steps mstep estep gamma start starts ridge ;;
    "train "*) echo $policies ... ;;
    eval)
        echo $data eval from bag by people groups fit fit_rows out seed folds fold raw_head pooling
        echo reference beta logp train_turns pairs features top base_dtype force ;;
    score) echo $data raw_head pooling tokens probability features train_turns base_dtype force ;;
    calibrate) echo $data eval isotonic top pairs seed folds fold force ;;
    sample) echo $prompts $drawing n unique force ;;
    tokenize) echo train out learn ;;
    doctor)
        echo $data train eval objective rows pooling recompute freeze folds fold
        echo $points demos sft_on pairs train_turns compat ;;
    bestof) echo $prompts $drawing $judging n all force ;;
    compare) echo judge_labels; echo $prompts $drawing $judging reference train_turns force ;;
    regret)
        echo $prompts also reference out fairness eta kl beta n max_new_tokens stop batch seed
        echo micro_batch_tokens force ;;
    judge)
        echo $data eval out features rubrics cache prefill retries unscored
        echo temperature top_k top_p min_p repetition_penalty max_new_tokens batch seed force ;;
    diff) echo paths ;;
    report) echo paths out watch seed ;;
    completion) echo shell ;;
    trace)
        echo $data step train more normalize alpha learning_rate head_rate warmup_ratio
        echo lr_scheduler_type weight_decay max_grad_norm adam_beta1 adam_beta2 adam_epsilon
        echo pooling raw_head seed max_steps num_train_epochs force ;;
    verify)
        echo paths no_replay steps out train then demo bapo_base eval prompts groups reference
        echo references reward critic micro_batch_tokens recompute force ;;
    bench) echo train out shape precision only rounds max_length max_prompt_length ;;
    esac
}
# the commands that the help lists, with train_dpo for `train dpo`
commands=$(./more --help | awk '/^    more [a-z]/ { print $2 == "train" ? $2 "_" $3 : $2 }')

it "help_lists_the_commands"
works ./more --help
works ./more train --help
for c in train_lm train_reward train_more train_sft train_dpo train_ulma doctor eval score calibrate sample \
    tokenize inspect; do
    case " $(echo $commands) " in
    *" $c "*) ;;
    *) fault "no $c" ;;
    esac
done

it "the_help_of_every_command_mentions_its_options_and_no_other"
for c in $commands; do
    command=$(echo $c | tr _ ' ')
    works ./more $command --help
    sed -n 's/^    --\([a-z0-9_]*\).*/\1/p' out | sort > have
    options_of "$command" | tr ' ' '\n' | sort > want
    if grep -q '^[.]' want; then
        grep -v '^[.]' want | comm -13 have - > differences
    else
        diff have want > differences
    fi
    [ ! -s differences ] || fault "$command: $(cat differences)"
done

it "an_option_of_another_command_is_refused"
for c in $commands; do
    command=$(echo $c | tr _ ' ')
    see="unknown option of more $command; see --help"
    refused 64 "--frobnicate: $see" ./more $command --frobnicate 3
    own=" $(echo $(options_of "$command")) "
    for o in train eval out dtype then vocab_size seed learning_rate head_rate more pooling folds \
        from raw_head learn max_length top_k; do
        case "$own" in
        *" $o "*) ;;
        *) refused 64 "--$o: $see" ./more $command --$o ;;
        esac
    done
done

finish
