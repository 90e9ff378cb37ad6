find_package(nlohmann_json 3.10 REQUIRED)
find_package(fmt REQUIRED)
find_package(CLI11 REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto SSL)
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)

# oneDNN's own CMake package asks for OpenCL headers on Debian, so it is found by path and library.
find_path(DNNL_INCLUDE_DIR dnnl.hpp REQUIRED)
find_library(DNNL_LIBRARY dnnl REQUIRED)
add_library(awq_dnnl INTERFACE)
target_include_directories(awq_dnnl SYSTEM INTERFACE ${DNNL_INCLUDE_DIR})
target_link_libraries(awq_dnnl INTERFACE ${DNNL_LIBRARY})

# The server: Beast and Asio are headers only.
find_package(Boost 1.74 REQUIRED)
find_package(prometheus-cpp REQUIRED CONFIG)
find_package(spdlog REQUIRED)
