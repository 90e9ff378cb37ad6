#include "support/paths.h"

namespace awq::test {
const char* const kSourceDir = AWQ_SOURCE_DIR_TEXT;
const char* const kSharedData = AWQ_SHARED_DATA_TEXT;
}  // namespace awq::test
