/* mkl.c - PyTorch's MKL asks this function whether the processor is Intel's, and computes with AVX2 where it is not, AVX-512
 * or no.  Preloaded, this answer makes it as fast as it can be: the stronger peer.
 *
 *     cc -O2 -shared -fPIC mkl.c -o mkl.so && LD_PRELOAD=./mkl.so python torch_step.py lm fp32              */
int mkl_serv_intel_cpu_true(void) { return 1; }
