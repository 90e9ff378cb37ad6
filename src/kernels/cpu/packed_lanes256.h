// Eight binary32 or 32-bit lanes for kernels of packed weights; included inside the unnamed namespace of each file that
// is built for AVX2, so that no two files share an instance.

struct Lanes256 {
  static constexpr int kWidth = 8;
  using Floats = __m256;
  using Ints = __m256i;

  static Floats zero() { return _mm256_setzero_ps(); }
  static Floats from_bytes(const std::uint8_t* p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  }
  static Floats from_halves(const void* p) { return _mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(p))); }
  static Floats from_floats(const void* p) { return _mm256_loadu_ps(static_cast<const float*>(p)); }
  static Floats to_floats(Ints v) { return _mm256_cvtepi32_ps(v); }
  static Floats multiply(Floats a, float b) { return _mm256_mul_ps(a, _mm256_set1_ps(b)); }
  static Floats multiply_add(Floats a, float b, Floats c) { return _mm256_fmadd_ps(a, _mm256_set1_ps(b), c); }
  static Floats multiply_add(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
  static Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
  static void store(Floats v, float* p) { _mm256_storeu_ps(p, v); }
  /// 128 * high + low.
  static Ints join(Ints high, Ints low) { return _mm256_add_epi32(_mm256_slli_epi32(high, 7), low); }
  static Ints broadcast(const std::int8_t* p) {
    int four = 0;
    __builtin_memcpy(&four, p, sizeof(four));
    return _mm256_set1_epi32(four);
  }
  static Ints load(const std::uint8_t* p) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(p)); }
  static Ints low_nibbles(Ints bytes) { return _mm256_and_si256(bytes, _mm256_set1_epi8(15)); }
  static Ints high_nibbles(Ints bytes) { return low_nibbles(_mm256_srli_epi16(bytes, 4)); }

  // Sums of pairs in 16 bits; vpmaddubsw saturates, so codes enter as nibbles.
  static Ints zero_ints() { return _mm256_setzero_si256(); }
  static Ints pair_sums(Ints nibbles, Ints x) { return _mm256_maddubs_epi16(nibbles, x); }
  static Ints add16(Ints a, Ints b) { return _mm256_add_epi16(a, b); }
  static Ints add32(Ints a, Ints b) { return _mm256_add_epi32(a, b); }
  /// Pairs of 16-bit numbers times `factor`, added.
  static Ints widen(Ints pairs, short factor) { return _mm256_madd_epi16(pairs, _mm256_set1_epi16(factor)); }
  /// Makes the compiler finish `v` here.
  static void settle(Ints& v) { asm("" : "+x"(v)); }
};
