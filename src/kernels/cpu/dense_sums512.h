// Sums of the lanes of vectors, four at a time, for the kernels of dense weights; included inside the unnamed namespace
// of each file that is built for AVX-512, so that no two files share an instance.

/// out[i] = the sum of v[i] in the order of _mm512_reduce_add_ps: lanes eight apart, four, two, one. Halves and
/// quarters of two vectors are added at once, which takes 13 instructions for four vectors where one by one takes 32.
template <int kCount>
inline void sums_of_lanes(const __m512* v, float* out) {
  const auto halves = [](__m512 a, __m512 b) {  // of a, then of b, eight lanes each
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xEE));
  };
  int i = 0;
  for (; i + 4 <= kCount; i += 4) {
    const __m512 ab = halves(v[i], v[i + 1]), cd = halves(v[i + 2], v[i + 3]);
    __m512 four = _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xDD));
    four = _mm512_add_ps(four, _mm512_permute_ps(four, 0x4E));
    four = _mm512_add_ps(four, _mm512_permute_ps(four, 0xB1));
    _mm_storeu_ps(out + i, _mm512_castps512_ps128(_mm512_maskz_compress_ps(0x1111, four)));
  }
  for (; i < kCount; ++i) out[i] = _mm512_reduce_add_ps(v[i]);
}
