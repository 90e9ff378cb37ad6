// Eight outputs a vector with vpdpbusd on 256 bits. Included inside the unnamed namespace of a file that defines
// dot256(sum, codes, activations): the instruction has two encodings, for AVX-512 VL and for AVX-VNNI.

struct Vector256 {
  static constexpr int kWidth = 8;
  static constexpr int kPrefetch = 256;
  using Floats = __m256;
  using Ints = __m256i;
  template <int kBits>
  using Dots = __m256i;
  template <int kBits>
  struct Line {
    static constexpr int kSteps = kBits == 4 ? 2 : 1;
    __m256i codes[kSteps];
  };

  static Floats zero() { return _mm256_setzero_ps(); }
  static Ints zero_ints() { return _mm256_setzero_si256(); }
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
  static Ints join(Ints high, Ints low) { return _mm256_add_epi32(_mm256_slli_epi32(high, 7), low); }

  template <int kBits>
  static Line<kBits> decode(const std::uint8_t* p) {
    const __m256i bytes = _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
    if constexpr (kBits == 8) {
      return {{bytes}};
    } else {
      const __m256i nibble = _mm256_set1_epi8(15);
      return {{_mm256_and_si256(bytes, nibble), _mm256_and_si256(_mm256_srli_epi16(bytes, 4), nibble)}};
    }
  }
  static __m256i broadcast(const std::int8_t* p) {
    int four = 0;
    __builtin_memcpy(&four, p, sizeof(four));
    return _mm256_set1_epi32(four);
  }
  template <int kBits>
  static __m256i begin(Ints sum) {
    return sum;
  }
  template <int kBits>
  static void dot(__m256i& sum, const Line<kBits>& w, int step, __m256i x) {
    sum = dot256(sum, w.codes[step], x);
  }
  template <int kBits>
  static Ints end(Ints, __m256i dots) {
    return dots;
  }
};

template <int kBits, int kPlanes>
void run256(const PackedArgs& args, std::int64_t block_begin, std::int64_t block_end, std::int64_t panel_begin,
            std::int64_t panel_end) noexcept {
  packed_run<Vector256, kBits, kPlanes, 8, 2, kPlanes == 1 ? 4 : 2, kPlanes == 1 ? 4 : 2>(args, block_begin, block_end,
                                                                                          panel_begin, panel_end);
}
