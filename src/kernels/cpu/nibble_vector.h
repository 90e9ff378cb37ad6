// Products of codes with activations without an instruction for four bytes: vpmaddubsw adds pairs in 16 bits and
// saturates, so codes enter as nibbles: 15 * 127 * 2 a step, and a unit has 8 steps, 30480 at most. Included inside an
// unnamed namespace after the lanes.

template <class Lanes>
struct NibbleVector : Lanes {
  using Ints = typename Lanes::Ints;
  static constexpr int kUnitsOfDots = 1;
  template <int kBits>
  struct Dots {
    Ints pairs[kBits / 4];  ///< in 16 bits, of the low and the high nibbles of an 8-bit code
  };
  template <int kBits>
  struct Line {
    static constexpr int kSteps = kBits == 4 ? 2 : 1;
    Ints nibbles[2];
  };

  template <int kBits>
  static Line<kBits> decode(const std::uint8_t* p) {
    const Ints bytes = Lanes::load(p);
    return {{Lanes::low_nibbles(bytes), Lanes::high_nibbles(bytes)}};
  }
  template <int kBits>
  static Dots<kBits> no_dots() {
    Dots<kBits> dots;
    for (Ints& pairs : dots.pairs) pairs = Lanes::zero_ints();
    return dots;
  }
  template <int kBits>
  static void dot(Dots<kBits>& dots, const Line<kBits>& w, int step, Ints x) {
    if constexpr (kBits == 4) {
      add_products(dots.pairs[0], w.nibbles[step], x);
    } else {
      add_products(dots.pairs[0], w.nibbles[0], x);
      add_products(dots.pairs[1], w.nibbles[1], x);
    }
  }
  /// Left to itself the compiler keeps every product of a unit in memory and adds them at its end.
  static void add_products(Ints& pairs, Ints nibbles, Ints x) {
    pairs = Lanes::add16(pairs, Lanes::pair_sums(nibbles, x));
    Lanes::settle(pairs);
  }
  template <int kBits>
  static Ints sum(const Dots<kBits>& dots) {
    const Ints low = Lanes::widen(dots.pairs[0], 1);
    if constexpr (kBits == 4) return low;
    if constexpr (kBits == 8) return Lanes::add32(low, Lanes::widen(dots.pairs[1], 16));
  }
};
