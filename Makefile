# make           builds ./more
# make quick     tests what is computed and said, on small arrays and tiny models: under a minute
# make test      every test: minutes; the last line is "N passed, N failed"
#
#     make test/bin/test_loss && test/bin/test_loss wolfe  one program, tests with `wolfe` in it
#     make && sh test/commands/sample.sh                   one part of the commands' tests
#
# make debug     builds ./more-debug for gdb, with address and undefined-behaviour sanitizers;
#                make test/debug/test_loss builds a test like that
# make functions the largest errors of exp, erf, .. over all floats, and digests: minutes
# make crash     kills training runs at every call to the disk, at random, and worse: they go on
# make fuzz      gives every reader anything, FUZZ_SECONDS (600) each: clang's libFuzzer, hours
# make sanitize  the quick tests with each sanitizer and in valgrind: gcc and clang, long
# make repro     ten golden trainings on every target that is installed here: one hash each?
# make seam      links the program with another implementation of kernels.h
# make cuda      builds ./more for an NVIDIA GPU, with nvcc: docs/GPU.md
# make emulate   runs the layers of `make cuda` on this CPU: they have the same bits
# make wasm      docs/play/, a page that trains in a browser; needs emcc: scripts/play.sh
# make run       trains and compares reward models on the shipped data: minutes
# make report    charts of what make run trained, on one page: run/report.html
# make align     a judge and six policies, compared on test prompts: minutes
# make people    people of two hidden groups: who is of which, a policy for each: minutes
# make domain    reward models of expert features, by how many judgements; a policy with one: minutes
# make study     the full comparison, resumable: an hour
# make real      reward models and policies from SmolLM2-135M, resumable: an evening
# make install   copies the program to PREFIX/bin (/usr/local) as PROGRAM (more), its manual page and
#                completion for bash and zsh to PREFIX/share.  `more` is also the name of a pager:
#                `make install PROGRAM=morec` leaves that one alone
# make clean     removes what make built
#
# Settings: CC, CFLAGS (-O2), JOBS: how many compilers and tests at a time (all cores).
# What make does, `cc -O2 more.c -o more -lm` can do too, on one thread; the numbers are the same.

CFLAGS  ?= -O2
PREFIX  ?= /usr/local
PROGRAM ?= more
JOBS    ?= $(shell getconf _NPROCESSORS_ONLN)
LDLIBS   = -lm
ifeq (,$(findstring -j,$(MAKEFLAGS)))
MAKEFLAGS += -j$(JOBS)
endif

# OpenMP for the compilers that have it; the results do not depend on it.  What is linked goes to a
# file of its own: run by root, tcc puts a file in the place of the device /dev/null.
HAS_OPENMP := $(shell out=$$(mktemp) && printf 'int main(void){return 0;}' | \
    $(CC) -fopenmp -x c - -o $$out 2>/dev/null && echo yes; rm -f $$out)
ifeq (yes,$(HAS_OPENMP))
OPENMP ?= -fopenmp
endif

COMPILE = $(CC) -std=c11 $(CFLAGS) -Wall -Wextra -Wshadow -Wmissing-prototypes $(OPENMP)
# -O0: with -Og gdb finds few variables of a sanitized build
DEBUG   = -O0 -g -DMORE_DEBUG -fsanitize=address,undefined -fno-sanitize-recover=undefined
# the compiler notes in test/bin what a target includes; it is read back below
NOTE    = -MMD -MP -MT $@ -MF test/bin/$(subst /,-,$@).d

# The program and most tests are one unit each, linked with the layers, which are compiled once.
LINKED = -DMORE_LINK_KERNELS
KERNELS = test/bin/kernels.o

# what receipts of trainings say of this program: the SHA-256 of its sources
SOURCE := $(shell cat *.h *.c *.cu commands/*.c files/*.c | sha256sum 2>/dev/null | cut -d ' ' -f 1)
ifneq (,$(SOURCE))
STAMP = -DMORE_SOURCE='"$(SOURCE)"'
endif

more: more.c $(KERNELS)
	$(COMPILE) $(NOTE) $(LINKED) $(STAMP) more.c $(KERNELS) -o $@ $(LDLIBS)

$(KERNELS): kernels.c | test/bin
	$(COMPILE) $(NOTE) -DMORE_OBJECT -c kernels.c -o $@

# These tests look into the layers and compile them themselves.
WHOLE  = $(addprefix test/bin/test_,amx bench check grad kernels matmul mlp)
TESTS  = $(patsubst test/%.c,test/bin/%,$(wildcard test/test_*.c))
# The others compile in a moment without optimisation: what takes time is in the layers.
TEST_CFLAGS ?= -O0 -g

$(WHOLE): test/bin/%: test/%.c | test/bin
	$(COMPILE) $(NOTE) $< -o $@ $(LDLIBS)

# but these train
test/bin/test_people test/bin/test_heads test/bin/test_features: TEST_CFLAGS = $(CFLAGS)

$(filter-out $(WHOLE),$(TESTS)): test/bin/%: test/%.c $(KERNELS)
	$(COMPILE) $(TEST_CFLAGS) $(NOTE) $(LINKED) $< $(KERNELS) -o $@ $(LDLIBS)

more-debug: more.c | test/bin
	$(COMPILE) $(DEBUG) $(NOTE) $< -o $@ $(LDLIBS)

test/debug/%: test/%.c | test/bin test/debug
	$(COMPILE) $(DEBUG) $(NOTE) $< -o $@ $(LDLIBS)

test/bin test/debug:
	mkdir -p $@

-include $(wildcard test/bin/*.d)

.PHONY: help quick test debug crash fuzz sanitize repro functions seam wasm run report align people \
    domain study real install clean
.PHONY: cuda cuda-tests emulate
help:
	@sed '/^$$/q; s/^# \{0,1\}//' Makefile

# The commands' tests are files of test/commands; the slowest tests come first.
COMMANDS = $(filter-out %/lib.sh,$(wildcard test/commands/*.sh))
SLOW     = $(wildcard test/commands/bits.sh test/commands/bench.sh test/commands/three_edits.sh)
test: more $(TESTS)
	@JOBS=$(JOBS) sh test/run.sh $(WHOLE) $(SLOW) $(filter-out $(WHOLE),$(TESTS)) \
	    $(filter-out $(SLOW),$(COMMANDS))

QUICK_TESTS    = $(addprefix test/bin/test_,json common loss metrics bagofwords text_features \
    agreement dataset reward policy train objectives regret)
QUICK_COMMANDS = $(addprefix test/commands/,options.sh usage.sh train.sh policy.sh eval.sh score.sh)
quick: more $(QUICK_TESTS)
	@JOBS=$(JOBS) sh test/run.sh $(QUICK_TESTS) $(QUICK_COMMANDS)

debug: more-debug

crash: more test/bin/starved
	CRASH_KILLS="$(CRASH_KILLS)" sh test/slow/crash.sh $(CRASH_EACH)

# any allocation can be made to fail; what is lost or overwritten then is said
STARVE = -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=posix_memalign,--wrap=nanosleep
test/bin/starved: more.c test/bin/starve.o $(KERNELS)
	$(COMPILE) $(DEBUG) $(NOTE) $(LINKED) more.c test/bin/starve.o $(KERNELS) $(STARVE) -o $@ \
	    $(LDLIBS)

test/bin/starve.o: test/slow/starve.c | test/bin
	$(COMPILE) -c test/slow/starve.c -o $@

# whatever is read, given anything.  A pointer of no array plus 0 is that pointer, which clang has
# doubts about.
FUZZ_CC ?= clang
FUZZ     = -std=c11 -O1 -gline-tables-only -Wall -Wextra -DMORE_DEBUG $(LINKED) -fsanitize=fuzzer \
    -fsanitize=address,undefined,float-cast-overflow -fno-sanitize=pointer-overflow \
    -fno-sanitize-recover=undefined,float-cast-overflow
fuzz: more test/bin/fuzz
	sh test/slow/fuzz.sh

test/bin/fuzz: test/fuzz/fuzz.c test/bin/fuzz_kernels.o
	@printf 'int LLVMFuzzerTestOneInput(const void *p, unsigned long n){return !p && n;}' | \
	    $(FUZZ_CC) -fsanitize=fuzzer,address -x c - -o $@ 2>/dev/null || \
	    { echo "libFuzzer is missing: apt-get install clang libclang-rt-dev"; exit 1; }
	$(FUZZ_CC) $(NOTE) $(FUZZ) test/fuzz/fuzz.c test/bin/fuzz_kernels.o -o $@ $(LDLIBS)

test/bin/fuzz_kernels.o: kernels.c | test/bin
	$(FUZZ_CC) -std=c11 -O1 $(NOTE) -DMORE_OBJECT -c kernels.c -o $@

sanitize:
	sh test/slow/sanitize.sh

# TARGETS="s390x wasm": those whose names have one of these words; test/bin/repro keeps the programs
repro: more
	TARGETS="$(TARGETS)" JOBS=$(JOBS) sh scripts/repro.sh


# kernels.h is all that the program needs of the layers: it links with a stub that has just these
# functions, and with kernels.c compiled by itself as other hardware's file would be.
seam: $(KERNELS)
	$(COMPILE) -DMORE_OBJECT -c test/kernels_stub.c -o test/bin/kernels_stub.o
	$(COMPILE) -O0 -DMORE_CUDA -c more.c -o test/bin/more_seam.o
	$(CC) $(CFLAGS) $(OPENMP) test/bin/more_seam.o test/bin/kernels_stub.o -o test/bin/more_stub \
	    $(LDLIBS)
	$(CC) $(CFLAGS) $(OPENMP) test/bin/more_seam.o $(KERNELS) -o test/bin/more_seam $(LDLIBS)
	test/bin/more_stub selftest 2>&1 | grep 'has no layers'
	test/bin/more_seam selftest

# our own functions on all their inputs; -march=native: a multiply-add in hardware, or an hour
FUNCTIONS_CFLAGS ?= -march=native
functions: | test/bin
	$(COMPILE) $(FUNCTIONS_CFLAGS) scripts/hash_functions.c -o test/bin/hash_functions $(LDLIBS)
	test/bin/hash_functions

# kernels.cu for a GPU: for each of an A100 and an H100 in its own code, for newer ones in that which
# their driver translates.  Another: make cuda GPUS=-arch=sm_75.
NVCC ?= nvcc
GPUS ?= -gencode 'arch=compute_80,code=[sm_80,compute_80]' -gencode arch=compute_90,code=sm_90
# contraction would change results, on both machines
CUDA = $(NVCC) -std=c++17 -O3 -fmad=false -Xcompiler -ffp-contract=off $(OPENMP:%=-Xcompiler %) \
    $(GPUS) -DMORE_OBJECT
HAS_NVCC = command -v $(NVCC) > /dev/null || { echo "make $@ needs nvcc, of NVIDIA's CUDA toolkit:" \
    "put it on the path, or say where it is: make $@ NVCC=/usr/local/cuda/bin/nvcc"; exit 1; }

cuda: | test/bin
	@$(HAS_NVCC)
	$(CUDA) -c kernels.cu -o test/bin/kernels_cuda.o
	$(COMPILE) $(STAMP) -DMORE_CUDA -c more.c -o test/bin/more_cuda.o
	$(NVCC) $(OPENMP:%=-Xcompiler %) test/bin/more_cuda.o test/bin/kernels_cuda.o -o more

# the tests that look into tensors, with a GPU: its memory is managed then
cuda-tests: | test/bin
	@$(HAS_NVCC)
	$(CUDA) -DMORE_CUDA_OPEN -c kernels.cu -o test/bin/kernels_cuda_open.o
	for t in kernels model generate tensor_cores; do \
	    $(COMPILE) $(LINKED) -c test/test_$$t.c -o test/bin/cuda_$$t.o && \
	    $(NVCC) $(OPENMP:%=-Xcompiler %) test/bin/cuda_$$t.o test/bin/kernels_cuda_open.o \
	        -o test/bin/cuda_$$t || exit 1; \
	done

# the same files for a CPU: a C++ compiler, and test/cuda_on_cpu.h in the place of CUDA
HAS_NATIVE := $(shell out=$$(mktemp) && printf 'int main(void){return 0;}' | \
    $(CXX) -march=native -x c++ - -o $$out 2>/dev/null && echo -march=native; rm -f $$out)
EMULATED = $(CXX) -std=c++17 -O2 $(HAS_NATIVE) -Wall -Wextra -Wno-unused-function \
    -Wno-unknown-pragmas -Wno-missing-field-initializers -Wno-pass-failed -fno-exceptions -fno-rtti \
    -fno-threadsafe-statics -ffp-contract=off -x c++ -include test/cuda_on_cpu.h -DMORE_OBJECT
test/bin/kernels_on_cpu.o: kernels.cu | test/bin
	$(EMULATED) $(NOTE) -c kernels.cu -o $@
test/bin/kernels_open.o: kernels.cu | test/bin
	$(EMULATED) $(NOTE) -DMORE_CUDA_OPEN -c kernels.cu -o $@
test/bin/more_on_cpu: more.c test/bin/kernels_on_cpu.o
	$(COMPILE) $(TEST_CFLAGS) $(NOTE) $(LINKED) more.c test/bin/kernels_on_cpu.o -o $@ $(LDLIBS)
test/bin/on_cpu_%: test/test_%.c test/bin/kernels_open.o
	$(COMPILE) $(TEST_CFLAGS) $(NOTE) $(LINKED) $< test/bin/kernels_open.o -o $@ $(LDLIBS)

emulate: more $(addprefix test/bin/,more_on_cpu on_cpu_kernels on_cpu_model on_cpu_generate \
        on_cpu_tensor_cores)
	@sh test/slow/emulate.sh

wasm:
	@sh scripts/play.sh

run: more
	sh scripts/run.sh

report: more
	./more report --out run/report.html run/multitask run/uniform run/more run/more-paper \
	    run/results.jsonl

align: more
	sh scripts/align.sh

people: more
	sh scripts/people.sh people $(MORE_DATA)

domain: more
	sh scripts/domain.sh

study: more
	sh scripts/study.sh $(MORE_DATA)

real: more
	sh scripts/real.sh $(MORE_MODEL)

# the program says its manual page and its completion by the name that it is called by
INSTALLED = $(DESTDIR)$(PREFIX)/bin/$(PROGRAM)
SHARE     = $(DESTDIR)$(PREFIX)/share
install: more
	mkdir -p $(DESTDIR)$(PREFIX)/bin $(SHARE)/man/man1 $(SHARE)/bash-completion/completions \
	    $(SHARE)/zsh/site-functions
	cp more $(INSTALLED)
	$(INSTALLED) man > $(SHARE)/man/man1/$(PROGRAM).1
	$(INSTALLED) completion bash > $(SHARE)/bash-completion/completions/$(PROGRAM)
	$(INSTALLED) completion zsh > $(SHARE)/zsh/site-functions/_$(PROGRAM)

clean:
	rm -rf more more-debug test/bin test/debug docs/play/base docs/play/licences docs/play/native
	rm -f docs/play/*.wasm docs/play/*.jsonl docs/play/more.js
