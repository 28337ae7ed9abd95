/* explain.c - more explain: what a reward model of features rewards (../explain.c), as a table, as
 * JSON and as a picture.
 *
 *     --eval     the choices that it is measured on
 *     --train    trained anew on this file without each feature in turn: column `dropped`
 *     --out      FILE.json has all numbers, FILE.svg beside it the picture
 */
#ifndef COMMAND_EXPLAIN_C
#define COMMAND_EXPLAIN_C
#include "features.c"
#include "../explain.c"

int command_explain(void);

// What is printed of a model.
typedef struct {
    const char *dir;
    FeatureNet net;
    FeatureFit fit;
    Dataset d;
    Explanation x;
    int order[MAX_FEATURES];                // of the features: the largest influence first
    double longer_people, longer_model;     // how often the longer answer is better; NaN: no texts
} Explained;

// ----------------------------------------------------------------------------------------- a table

static void order_by_influence(Explained *e) {
    for (int i = 0; i < e->x.D; i++) {
        const double size = fabs(e->x.effect[i].influence);
        int at = i;
        while (at > 0 && fabs(e->x.effect[e->order[at - 1]].influence) < size) {
            e->order[at] = e->order[at - 1];
            at--;
        }
        e->order[at] = i;
    }
}

// A number in `width` columns, or a dash where there is none.
static void print_number(int width, int digits, double x) {
    if (isnan(x)) printf(" %*s", width, "-");
    else printf(" %*.*f", width, digits, x);
}

static void print_effects(const Explained *e) {
    printf("%-22s %8s %8s %8s %9s %15s %8s %15s\n", "", "", "", "", "", "permuted", "dropped",
           "alone");
    printf("%-22s %8s %8s %8s %9s %8s %6s %8s %8s %6s\n", "feature", "weight", "slope", "spread",
           "influence", "loss", "acc %", "loss", "loss", "acc %");
    for (int n = 0; n < e->x.D; n++) {
        const FeatureEffect *f = &e->x.effect[e->order[n]];
        printf("%-22s", e->net.features.name[e->order[n]]);
        print_number(8, 3, f->weight);
        print_number(8, 3, f->slope);
        print_number(8, 3, f->spread);
        print_number(9, 3, f->influence);
        print_number(8, 4, f->permuted_loss);
        print_number(6, 1, -100 * f->permuted_accuracy);
        print_number(8, 5, f->dropped_loss);
        print_number(8, 4, f->alone_loss);
        print_number(6, 1, 100 * f->alone_accuracy);
        printf("\n");
    }
}

// What collinearity does to signs, where it does it.
static void print_turned(const Explained *e) {
    int turned = 0;
    for (int n = 0; n < e->x.D; n++) {
        const int i = e->order[n];
        const FeatureEffect *f = &e->x.effect[i];
        if (!explain_is_turned(f) || f->twin < 0) continue;
        const int is_good = f->alone_accuracy > 0.5;
        printf("%s: by itself %s is better in %.1f %% of pairs, but the reward %s with it; "
               "it\n    goes with %s (correlation %.2f)\n", e->net.features.name[i],
               is_good ? "more" : "less",
               100 * fmax(f->alone_accuracy, 1 - f->alone_accuracy), is_good ? "falls" : "rises",
               e->net.features.name[f->twin], f->correlation);
        turned++;
    }
    if (!turned) return;
    printf("Where features say the same, hardly anything decides which of them has the weight, and "
           "with which\nsign: such a sign is collinearity, not dislike.\n");
}

static void print_explained(const Explained *e) {
    const FeatureMeasure *m = &e->x.whole;
    printf("%s, layers %s, on %s: loss %.6f, accuracy %.2f %% of %zu pairs\n\n", e->dir,
           e->net.layout, e->d.name, m->loss, 100 * m->accuracy, m->pairs);
    print_effects(e);
    printf("\nslope: reward for one more of the feature; spread: how far the two answers of a pair "
           "are apart in it;\ninfluence: their product.  permuted: how loss and accuracy change "
           "when its values are dealt out anew;\ndropped: how the loss does when trained without "
           "it%s; alone: of the feature by itself.\n",
           isnan(e->x.effect[0].dropped_loss) ? " (--train)" : "");
    print_turned(e);
    if (isnan(e->longer_model)) return;
    printf("The model prefers the longer answer in %.1f %% of the pairs; people do in %.1f %%.\n",
           100 * e->longer_model, 100 * e->longer_people);
}

// -------------------------------------------------------------------------------------------- JSON

static int put_real(Buffer *b, const char *name, double x) {
    if (isnan(x)) return buffer_printf(b, ",\"%s\":null", name);
    return buffer_printf(b, ",\"%s\":%.17g", name, x);
}

static int put_effect(Buffer *b, const Explained *e, int i) {
    const FeatureEffect *f = &e->x.effect[i];
    const struct {
        const char *name;
        double value;
    } numbers[] = {
        {"weight", f->weight}, {"slope", f->slope}, {"spread", f->spread},
        {"influence", f->influence}, {"permuted_loss", f->permuted_loss},
        {"permuted_accuracy", -f->permuted_accuracy}, {"dropped_loss", f->dropped_loss},
        {"alone_loss", f->alone_loss}, {"alone_accuracy", f->alone_accuracy},
    };
    if (buffer_printf(b, "%s  {\"feature\":", i ? ",\n" : "\n") < 0) return -1;
    if (json_quote(b, e->net.features.name[i], strlen(e->net.features.name[i])) < 0) return -1;
    for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++) {
        if (put_real(b, numbers[k].name, numbers[k].value) < 0) return -1;
    }
    if (f->twin >= 0) {
        const char *twin = e->net.features.name[f->twin];
        if (buffer_printf(b, ",\"twin\":") < 0 || json_quote(b, twin, strlen(twin)) < 0) return -1;
        if (put_real(b, "correlation", f->correlation) < 0) return -1;
    }
    if (buffer_printf(b, ",\"dependence\":[") < 0) return -1;
    for (int g = 0; g < EXPLAIN_GRID; g++) {
        if (buffer_printf(b, "%s[%.17g,%.17g]", g ? "," : "", f->at[g], f->dependence[g]) < 0) {
            return -1;
        }
    }
    return buffer_printf(b, "]}");
}

static int explained_json(Buffer *b, const Explained *e) {
    const FeatureMeasure *m = &e->x.whole;
    if (buffer_printf(b, "{\"model\":") < 0 || json_quote(b, e->dir, strlen(e->dir)) < 0) return -1;
    if (buffer_printf(b, ",\"data\":") < 0 || json_quote(b, e->d.path, strlen(e->d.path)) < 0) {
        return -1;
    }
    if (buffer_printf(b, ",\"pairs\":%zu,\"loss\":%.17g,\"accuracy\":%.17g", m->pairs, m->loss,
                      m->accuracy) < 0) return -1;
    if (put_real(b, "longer_model", e->longer_model) < 0) return -1;
    if (put_real(b, "longer_people", e->longer_people) < 0) return -1;
    if (buffer_printf(b, ",\"features\":[") < 0) return -1;
    for (int i = 0; i < e->x.D; i++) {
        if (put_effect(b, e, i) < 0) return -1;
    }
    return buffer_printf(b, "\n]}\n");
}

// --------------------------------------------------------------------------------------- a picture

/* A line for each feature, the largest influence first: its name, a bar of its influence to the
 * left or right of 0, and its partial dependence over its range, all on one scale of rewards:
 *
 *     language-correctness        |=======  1.353        0 __/ 5
 */
enum { LINE_HEIGHT = 54, NAME_WIDTH = 190, BAR_WIDTH = 240, BAR_GAP = 50, CURVE_WIDTH = 240,
       CURVE_HEIGHT = 40, HEAD = 44, PICTURE_WIDTH = 860 };

// Characters of a name that SVG would read as marks.
static int put_svg_text(Buffer *b, const char *text) {
    for (; *text; text++) {
        const char one[2] = {*text, 0};
        const char *as = one;
        if (*text == '&') as = "&amp;";
        if (*text == '<') as = "&lt;";
        if (*text == '>') as = "&gt;";
        if (buffer_printf(b, "%s", as) < 0) return -1;
    }
    return 0;
}

static int put_bar(Buffer *b, const FeatureEffect *f, double most, int y) {
    const double middle = NAME_WIDTH + BAR_WIDTH / 2.0;
    const double length = most > 0 ? f->influence / most * BAR_WIDTH / 2.0 : 0;
    const double left = length < 0 ? middle + length : middle;
    if (buffer_printf(b, "<rect class=\"%s\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"16\"/>\n",
                      length < 0 ? "minus" : "plus", left, y - 8, fabs(length)) < 0) return -1;
    return buffer_printf(b, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"%s\">%+.3f</text>\n",
                         middle + length + (length < 0 ? -5 : 5), y + 4,
                         length < 0 ? "end" : "start", f->influence);
}

static int put_curve(Buffer *b, const FeatureEffect *f, double low, double high, int y) {
    const double left = NAME_WIDTH + BAR_WIDTH + 2 * BAR_GAP, span = high > low ? high - low : 1;
    const double top = y - CURVE_HEIGHT / 2.0;
    if (buffer_printf(b, "<polyline points=\"") < 0) return -1;
    for (int g = 0; g < EXPLAIN_GRID; g++) {
        const double x = left + CURVE_WIDTH * g / (EXPLAIN_GRID - 1.0);
        const double height = (f->dependence[g] - low) / span * CURVE_HEIGHT;
        if (buffer_printf(b, "%s%.1f,%.1f", g ? " " : "", x, top + CURVE_HEIGHT - height) < 0) {
            return -1;
        }
    }
    return buffer_printf(b, "\"/>\n<text class=\"end\" x=\"%.1f\" y=\"%d\" text-anchor=\"end\">%g"
                         "</text>\n<text class=\"end\" x=\"%.1f\" y=\"%d\">%g</text>\n", left - 5,
                         y + 4, f->at[0], left + CURVE_WIDTH + 5.0, y + 4, f->at[EXPLAIN_GRID - 1]);
}

static int explained_svg(Buffer *b, const Explained *e) {
    const int D = e->x.D, height = HEAD + D * LINE_HEIGHT + 10;
    const int curve = NAME_WIDTH + BAR_WIDTH + 2 * BAR_GAP;
    double most = 0, low = HUGE_VAL, high = -HUGE_VAL;
    for (int i = 0; i < D; i++) {
        const FeatureEffect *f = &e->x.effect[i];
        most = fmax(most, fabs(f->influence));
        for (int g = 0; g < EXPLAIN_GRID; g++) {
            low = fmin(low, f->dependence[g]);
            high = fmax(high, f->dependence[g]);
        }
    }
    if (buffer_printf(b, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
                      "font-family=\"sans-serif\" font-size=\"13\">\n<style>\n"
                      "svg { background: #fff } text { fill: #222 } .end { fill: #666; "
                      "font-size: 11px }\n.plus { fill: #2a6fb0 } .minus { fill: #fff; stroke: "
                      "#b0452a; stroke-width: 2 }\npolyline { fill: none; stroke: #222; "
                      "stroke-width: 2 } line { stroke: #999 }\n</style>\n", PICTURE_WIDTH,
                      height) < 0) return -1;
    if (buffer_printf(b, "<text x=\"%d\" y=\"20\" text-anchor=\"middle\">influence on a pair's "
                      "margin</text>\n<text x=\"%d\" y=\"20\" text-anchor=\"middle\">mean reward "
                      "over the feature's values, %.2f to %.2f</text>\n",
                      NAME_WIDTH + BAR_WIDTH / 2, curve + CURVE_WIDTH / 2, low, high) < 0) {
        return -1;
    }
    if (buffer_printf(b, "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/>\n",
                      NAME_WIDTH + BAR_WIDTH / 2, HEAD - 10, NAME_WIDTH + BAR_WIDTH / 2,
                      height - 10) < 0) return -1;
    for (int n = 0; n < D; n++) {
        const int i = e->order[n], y = HEAD + n * LINE_HEIGHT + LINE_HEIGHT / 2;
        if (buffer_printf(b, "<text x=\"10\" y=\"%d\">", y + 4) < 0) return -1;
        if (put_svg_text(b, e->net.features.name[i]) < 0) return -1;
        if (buffer_printf(b, "</text>\n") < 0) return -1;
        if (put_bar(b, &e->x.effect[i], most, y) < 0) return -1;
        if (put_curve(b, &e->x.effect[i], low, high, y) < 0) return -1;
    }
    return buffer_printf(b, "</svg>\n");
}

// ------------------------------------------------------------------------------------- the command

// The name of the picture beside FILE.json.  0, or -1 after fail().
static int picture_path(char path[PATH_SIZE]) {
    const size_t n = strlen(opt.out);
    if (n < 6 || strcmp(opt.out + n - 5, ".json") != 0 || n >= PATH_SIZE) {
        return fail(EX_USAGE, "--out %s: FILE.json is needed; the picture is FILE.svg beside it",
                    opt.out);
    }
    snprintf(path, PATH_SIZE, "%.*s.svg", (int)(n - 5), opt.out);
    return 0;
}

static int write_explained(const Explained *e, const char *picture) {
    Buffer json = {0}, svg = {0};
    int result = -1;
    if (explained_json(&json, e) < 0 || explained_svg(&svg, e) < 0) goto done;
    if (file_write(opt.out, json.data, json.len) < 0) goto done;
    result = file_write(picture, svg.data, svg.len);
done:
    buffer_free(&json);
    buffer_free(&svg);
    return result;
}

// How the model stands to the rule that the longer answer is better; rows without texts have no
// lengths, and it decides none.  0, or -1 after fail().
static int measure_length_rule(Explained *e) {
    double *length = allocate(e->d.num_answers, sizeof *length);
    if (!length) return -1;
    for (size_t i = 0; i < e->d.num_answers; i++) length[i] = e->d.answer[i].chars;
    const int result = explain_rule(&e->longer_people, &e->longer_model, &e->net, &e->d, length);
    free(length);
    return result;
}

static int explain_model(Explained *e) {
    Dataset train = {0};
    int result = -1;
    if (feature_folder_load(&e->net, &e->fit, e->dir) < 0) return -1;
    if (features_load_choices(&e->d, opt.eval.item[0], &e->net.features) < 0) return -1;
    if (explain_measure(&e->x, &e->net, &e->d, e->fit.top, (uint64_t)opt.seed) < 0) return -1;
    order_by_influence(e);
    if (measure_length_rule(e) < 0) return -1;
    if (!opt.train.n) return 0;
    if (!e->fit.rows) {
        return fail(EX_DATAERR, "%s: config.json has no \"training\", how it was trained; leave "
                    "out --train, which trains it again", e->dir);
    }
    if (e->x.D == 1) {
        return fail(EX_USAGE, "--train: there is one feature, which cannot be dropped");
    }
    if (features_load_choices(&train, opt.train.item[0], &e->net.features) < 0) goto done;
    result = explain_dropped(&e->x, &e->net, &train, &e->d, &e->fit);
done:
    dataset_free(&train);
    return result;
}

int command_explain(void) {
    char picture[PATH_SIZE];
    Explained *e;
    int result = -1;
    if (opt.model.n != 1 || opt.eval.n != 1) {
        return fail(EX_USAGE, "one --model and one --eval are needed");
    }
    if (opt.train.n > 1) return fail(EX_USAGE, "--train: one file");
    if (opt.out && picture_path(picture) < 0) return -1;
    if (opt.out && (file_check(opt.out) < 0 || file_check(picture) < 0)) return -1;
    e = allocate(1, sizeof *e);
    if (!e) return -1;
    e->dir = opt.model.item[0];
    if (explain_model(e) < 0) goto done;
    print_explained(e);
    result = opt.out ? write_explained(e, picture) : 0;
done:
    feature_net_free(&e->net);
    dataset_free(&e->d);
    free(e);
    return result;
}
#endif
