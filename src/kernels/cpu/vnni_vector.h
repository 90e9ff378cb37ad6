// Products of unsigned codes with signed activations by vpdpbusd, which adds four of them to 32 bits and never
// saturates. Included inside an unnamed namespace after the lanes, with a Dot whose function dot(sum, codes, x) is the
// instruction: it has two encodings, for AVX-512 and for AVX-VNNI.

template <class Lanes, class Dot>
struct VnniVector : Lanes {
  using Ints = typename Lanes::Ints;
  static constexpr int kUnitsOfDots = 4;
  template <int kBits>
  using Dots = Ints;
  template <int kBits>
  struct Line {
    static constexpr int kSteps = kBits == 4 ? 2 : 1;
    Ints codes[kSteps];
  };

  template <int kBits>
  static Line<kBits> decode(const std::uint8_t* p) {
    const Ints bytes = Lanes::load(p);
    if constexpr (kBits == 8) {
      return {{bytes}};
    } else {
      return {{Lanes::low_nibbles(bytes), Lanes::high_nibbles(bytes)}};
    }
  }
  template <int kBits>
  static Ints no_dots() {
    return Lanes::zero_ints();
  }
  template <int kBits>
  static void dot(Ints& sum, const Line<kBits>& w, int step, Ints x) {
    sum = Dot::dot(sum, w.codes[step], x);
  }
  template <int kBits>
  static Ints sum(Ints dots) {
    return dots;
  }
};
