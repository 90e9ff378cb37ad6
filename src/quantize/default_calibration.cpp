#include "quantize/calibration_data.h"

// The text is joined from calibration/*.txt at build time and put into the program as it is.
__asm__(
    ".pushsection .rodata\n"
    ".global awq_default_calibration_begin\n"
    ".global awq_default_calibration_end\n"
    "awq_default_calibration_begin:\n"
    ".incbin \"" AWQ_CALIBRATION_FILE
    "\"\n"
    "awq_default_calibration_end:\n"
    ".popsection\n");

extern "C" {
extern const char awq_default_calibration_begin[];
extern const char awq_default_calibration_end[];
}

namespace awq::quantize {

std::string_view default_calibration_text() {
  return {awq_default_calibration_begin,
          static_cast<std::size_t>(awq_default_calibration_end - awq_default_calibration_begin)};
}

}  // namespace awq::quantize
