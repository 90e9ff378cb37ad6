# One interface target that every target of ours links: warnings, and errors from them where AWQ_WERROR is on.
add_library(awq_warnings INTERFACE)
target_compile_options(awq_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wcast-align -Wimplicit-fallthrough
  # Designated initializers leave the rest to defaults on purpose.
  -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # GCC 12 sees overlaps in the additions of its own std::string (GCC bug 105651): pages of warnings in a release build.
  target_compile_options(awq_warnings INTERFACE -Wno-restrict)
endif()
if(AWQ_WERROR)
  target_compile_options(awq_warnings INTERFACE -Werror)
endif()
# Bounds and iterator checks of the standard library stay on in release builds.
target_compile_definitions(awq_warnings INTERFACE _GLIBCXX_ASSERTIONS)
# The exact order of floating point operations is part of the result: no contraction that depends on the compiler.
target_compile_options(awq_warnings INTERFACE -ffp-contract=off -fno-math-errno -fno-trapping-math)
