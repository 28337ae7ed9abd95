# three_edits.sh - adding an objective takes three edits, and forgetting one is noticed: a hinge
# loss is added to a copy of the program (in minutes: it is built several times).
. "$(dirname "$0")/lib.sh"
make_data
make_lm

cp -R "$root"/*.c "$root"/*.h "$root"/Makefile "$root"/commands "$root"/files .
mkdir -p test
cp "$root"/test/*.c "$root"/test/*.h test
cp -R "$root"/test/golden test
rm -f more
quick="make -s CFLAGS=-O0"

# Edit 1: the loss.  L = w max(0, 1 - beta Delta), Delta the difference of log-ratios (SLiC-HF's
# hinge, Zhao et al. 2023, on DPO's implicit rewards).
loss='double hinge_loss(const LossBatch *b, const LossSettings *s);
double hinge_loss(const LossBatch *b, const LossSettings *s) {
    double loss = 0;
    for (int j = 0; j < b->B; j++) {
        const float *logp = b->logp + 2*j, *ref_logp = b->ref_logp + 2*j;
        const double w = b->weight ? b->weight[j] : 1;
        const double chosen = (double)logp[0] - ref_logp[0];
        const double rejected = (double)logp[1] - ref_logp[1];
        const double gap = 1 - s->beta * (chosen - rejected);
        if (gap <= 0) continue;
        loss += w * gap;
        b->dlogp[2*j] -= (float)(w * s->beta);
        b->dlogp[2*j + 1] += (float)(w * s->beta);
    }
    return loss;
}
#endif'
add_loss() {
    sed '$d' loss.c > loss.edited
    printf '%s\n' "$loss" >> loss.edited
    mv loss.edited loss.c
}

# Edit 2: its row in the table.
row='    }, {\
        .name = "hinge", .trainer = \&policies, .data = PAIRS, .loss = hinge_loss,\
        .reference = 1,\
        .options = OF_REFERENCE,\
        .help = "with pairs: a hinge on the margin",'
add_row() { sed -i.before "/\.help = \"with pairs: Azar et al\. 2023\"/a\\
$row" objectives.c; }

# Edit 3: its line in the gradient test.
line='    {.name = "hinge", .loss = hinge_loss, .pairs = 1,\
     .low = {.beta = .1}, .high = {.beta = 1}},'
add_line() { sed -i.before "/\.name = \"ipo\", \.loss = ipo_loss/i\\
$line" test/losses.h; }

it "an_objective_without_its_loss_does_not_compile"
add_row
run $quick more
[ $code != 0 ] || fault "it was built"
holds err 'hinge_loss'

it "an_objective_without_a_line_in_the_gradient_test_fails_a_test"
add_loss
works $quick more test/bin/test_objectives
run test/bin/test_objectives gradient_test
[ $code != 0 ] || fault "no test failed"
holds out 'hinge: test/losses.h has no line for its loss'

it "a_loss_with_a_wrong_gradient_fails_the_gradient_test"
add_line
sed -i.before '/b->dlogp\[2\*j + 1\] +=/s/(float)(w \* s->beta)/(float)w/' loss.c
works $quick test/bin/test_loss
run test/bin/test_loss finite_difference
[ $code != 0 ] || fault "no test failed"
mv loss.c.before loss.c
touch loss.c

it "three_edits_add_an_objective_with_its_command_options_help_and_tests"
works $quick more test/bin/test_objectives test/bin/test_loss test/bin/test_policy
works test/bin/test_objectives
works test/bin/test_loss
works test/bin/test_policy every_objective
run ./more train
holds out '^    more train *hinge *with pairs: a hinge'
works env COLUMNS=200 ./more train hinge --help
holds out '^    --beta .*\[0.1\]$'
works ./more train hinge --model lm --train a.train.jsonl --out hinge --max_length 64 \
    --max_prompt_length 32 --per_step_rows 4 --max_steps 2
holds err 'the policy is the reference: .* the loss starts at 1.000000'
holds hinge/log.jsonl '"rewards/accuracies":'

finish
