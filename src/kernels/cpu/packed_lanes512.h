// Sixteen binary32 or 32-bit lanes for kernels of packed weights; included inside the unnamed namespace of each file
// that is built for AVX-512 BW, so that no two files share an instance.

struct Lanes512 {
  static constexpr int kWidth = 16;
  using Floats = __m512;
  using Ints = __m512i;

  static Floats zero() { return _mm512_setzero_ps(); }
  static Floats from_bytes(const std::uint8_t* p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  }
  static Floats from_halves(const void* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
  }
  static Floats from_floats(const void* p) { return _mm512_loadu_ps(p); }
  static Floats to_floats(Ints v) { return _mm512_cvtepi32_ps(v); }
  static Floats multiply(Floats a, float b) { return _mm512_mul_ps(a, _mm512_set1_ps(b)); }
  static Floats multiply_add(Floats a, float b, Floats c) { return _mm512_fmadd_ps(a, _mm512_set1_ps(b), c); }
  static Floats multiply_add(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
  static Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
  static void store(Floats v, float* p) { _mm512_storeu_ps(p, v); }
  /// 128 * high + low.
  static Ints join(Ints high, Ints low) { return _mm512_add_epi32(_mm512_slli_epi32(high, 7), low); }
  static Ints broadcast(const std::int8_t* p) {
    int four = 0;
    __builtin_memcpy(&four, p, sizeof(four));
    return _mm512_set1_epi32(four);
  }
  static Ints load(const std::uint8_t* p) { return _mm512_load_si512(p); }
  static Ints low_nibbles(Ints bytes) { return _mm512_and_si512(bytes, _mm512_set1_epi8(15)); }
  static Ints high_nibbles(Ints bytes) { return low_nibbles(_mm512_srli_epi16(bytes, 4)); }

  // Sums of pairs in 16 bits; vpmaddubsw saturates, so codes enter as nibbles.
  static Ints zero_ints() { return _mm512_setzero_si512(); }
  static Ints pair_sums(Ints nibbles, Ints x) { return _mm512_maddubs_epi16(nibbles, x); }
  static Ints add16(Ints a, Ints b) { return _mm512_add_epi16(a, b); }
  static Ints add32(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
  /// Pairs of 16-bit numbers times `factor`, added.
  static Ints widen(Ints pairs, short factor) { return _mm512_madd_epi16(pairs, _mm512_set1_epi16(factor)); }
  /// Makes the compiler finish `v` here.
  static void settle(Ints& v) { asm("" : "+v"(v)); }
};
