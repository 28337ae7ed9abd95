# make        builds ./more            make run    trains and compares reward models on the shipped data (minutes)
# make test   runs every test          make study  the full comparison, resumable (an hour)
# make align  a judge and six policies, compared on test prompts (minutes)
#
# What make does, `cc -O2 more.c -o more -lm` can do too, on one thread; the numbers are the same.
CFLAGS ?= -O2
LDLIBS  = -lm

# OpenMP for the compilers that have it; the results do not depend on it
ifneq (,$(shell printf 'int main(void){return 0;}' | $(CC) -fopenmp -x c - -o /dev/null 2>/dev/null && echo yes))
OPENMP ?= -fopenmp
endif

COMPILE = $(CC) -std=c11 $(CFLAGS) -Wall -Wextra $(OPENMP)
# the compiler notes what a target includes; it is read back below
NOTE    = -MMD -MP -MT $@ -MF $@.d

# The program and the tests are one unit each, linked with the layers, which are compiled once.
LINKED = -DMORE_LINK_KERNELS
# These tests look into the layers and compile them themselves.
WHOLE  = $(addprefix test/bin/test_,amx bench check grad kernels matmul)
TESTS  = $(patsubst test/%.c,test/bin/%,$(wildcard test/test_*.c))
# the commands' tests, ./more from end to end
COMMANDS = $(filter-out %/lib.sh,$(wildcard test/commands/*.sh))

more: more.c kernels.o
	$(COMPILE) $(NOTE) $(LINKED) more.c kernels.o -o $@ $(LDLIBS)

kernels.o: kernels.c
	$(COMPILE) $(NOTE) -DMORE_OBJECT -c kernels.c -o $@

$(filter-out $(WHOLE),$(TESTS)): test/bin/%: test/%.c kernels.o
	@mkdir -p test/bin
	$(COMPILE) $(NOTE) $(LINKED) $< kernels.o -o $@ $(LDLIBS)

$(WHOLE): test/bin/%: test/%.c
	@mkdir -p test/bin
	$(COMPILE) $(NOTE) $< -o $@ $(LDLIBS)

-include $(wildcard *.d test/bin/*.d)

.PHONY: run align study test seam clean
run: more
	sh scripts/run.sh

align: more
	sh scripts/align.sh

study: more
	sh scripts/study.sh $(MORE_DATA)

test: more $(TESTS)
	sh test/run.sh $(TESTS) $(COMMANDS)

# kernels.h is all that the program needs of the layers: it links with a stub that has just these functions,
# and with kernels.c compiled by itself as other hardware's file would be
seam: kernels.o
	@mkdir -p test/bin
	$(COMPILE) -DMORE_OBJECT -c test/kernels_stub.c -o test/bin/kernels_stub.o
	$(COMPILE) -DMORE_CUDA -c more.c -o test/bin/more_seam.o
	$(CC) $(OPENMP) test/bin/more_seam.o test/bin/kernels_stub.o -o test/bin/more_stub $(LDLIBS)
	$(CC) $(OPENMP) test/bin/more_seam.o kernels.o -o test/bin/more_seam $(LDLIBS)
	test/bin/more_stub selftest 2>&1 | grep 'has no layers'
	test/bin/more_seam selftest

clean:
	rm -rf more test/bin *.o *.d
