#include "base/cpu_features.h"

#include <sched.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <set>
#include <vector>

#include "base/cgroup.h"
#include "base/check.h"
#include "base/places.h"

namespace awq {
namespace {

constexpr std::array<std::string_view, 5> kNames = {"scalar", "avx2", "avx512", "avx512vnni", "amx"};

#if defined(__x86_64__)
bool cpu_has_bit(unsigned leaf, unsigned subleaf, int reg, int bit) {
  unsigned r[4] = {0, 0, 0, 0};
  __asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(subleaf));
  return ((r[reg] >> bit) & 1U) != 0;
}

/// Asks Linux for the tile registers, for all threads of this process; without leave their first use would be fatal.
bool may_use_tiles() {
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

Isa detect() {
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !cpu_has_bit(1, 0, 2, 29))
    return Isa::kScalar;
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (!avx512) return Isa::kAvx2;
  if (!__builtin_cpu_supports("avx512vnni")) return Isa::kAvx512;
  const bool amx = cpu_has_bit(7, 0, 3, 22) && cpu_has_bit(7, 0, 3, 24) && cpu_has_bit(7, 0, 3, 25) && may_use_tiles();
  return amx ? Isa::kAmx : Isa::kAvx512Vnni;
}

bool detect_bf16() { return __builtin_cpu_supports("avx512f") && cpu_has_bit(7, 1, 0, 5); }
bool detect_avx_vnni() { return detect() >= Isa::kAvx2 && cpu_has_bit(7, 1, 0, 4); }
/// Family 19h of AMD ("Auth" "enti" "cAMD" in ebx, edx, ecx): Zen 3 and, with AVX-512, Zen 4.
bool detect_free_additions() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  __asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(0), "c"(0));
  if (b != 0x68747541U || d != 0x69746E65U || c != 0x444D4163U) return false;
  __asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(1), "c"(0));
  return ((a >> 8) & 15U) == 15 && ((a >> 20) & 255U) == 10;
}
bool arm_capability(unsigned long, unsigned long) { return false; }
#else
Isa detect() { return Isa::kScalar; }
bool detect_bf16() { return false; }
bool detect_avx_vnni() { return false; }
bool detect_free_additions() { return false; }
#if defined(__aarch64__)
/// Bits of the two capability words; AWQ_ISA=scalar hides them.
bool arm_capability(unsigned long first, unsigned long second) {
  return (getauxval(AT_HWCAP) & first) == first && (getauxval(AT_HWCAP2) & second) == second;
}
#else
bool arm_capability(unsigned long, unsigned long) { return false; }
#endif
#endif

Isa parse_isa(std::string_view name) {
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<Isa>(i);
  }
  fail(ErrorCode::kInvalidArgument, "instruction set \"{}\": expected scalar, avx2, avx512, avx512vnni or amx",
       printable(name));
}

Isa& cap() {
  static Isa value = [] {
    const char* text = std::getenv("AWQ_ISA");
    return text != nullptr && *text != '\0' ? parse_isa(text) : Isa::kAmx;
  }();
  return value;
}

Isa detected_isa() {
  static const Isa detected = detect();
  return detected;
}

}  // namespace

Isa active_isa() { return std::min(detected_isa(), cap()); }

void cap_isa(std::string_view name) { cap() = std::min(cap(), parse_isa(name)); }

std::string_view isa_name(Isa isa) { return kNames.at(static_cast<std::size_t>(isa)); }

bool lacks_vector_instructions() {
#if defined(__x86_64__)
  return detected_isa() == Isa::kScalar && cap() > Isa::kScalar;
#else
  return false;
#endif
}

bool has_native_bf16() {
  static const bool detected = detect_bf16();
  return detected && active_isa() >= Isa::kAvx512Vnni;
}

bool has_avx_vnni() {
  static const bool detected = detect_avx_vnni();
  return detected && active_isa() >= Isa::kAvx2;
}

bool has_free_additions() {
  static const bool detected = detect_free_additions();
  return detected && active_isa() >= Isa::kAvx512Vnni;
}

bool has_arm_dot_product() { return cap() > Isa::kScalar && arm_capability(1UL << 20, 0); }          // HWCAP_ASIMDDP
bool has_arm_int8_matrix() { return cap() > Isa::kScalar && arm_capability(1UL << 20, 1UL << 13); }  // HWCAP2_I8MM

int usable_processors() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  // Bound to a place, the calling thread has one processor, the process has all of them.
  const std::vector<int> places = place_processors();
  const std::size_t of_places = std::set<int>(places.begin(), places.end()).size();
  int count = of_places > 0                                    ? static_cast<int>(of_places)
              : sched_getaffinity(0, sizeof(mask), &mask) == 0 ? CPU_COUNT(&mask)
                                                               : 1;
  if (const auto quota = cgroup_processors())
    count = std::min(count, static_cast<int>(std::lround(std::min(*quota, 1e6))));
  return std::max(1, count);
}

}  // namespace awq
