# Joins INPUTS into OUTPUT with a separator line between them. Done by the shell's cat because CMake's own file reading
# drops brackets and semicolons.
find_program(CAT cat REQUIRED)
set(separator ${OUTPUT}.separator)
file(WRITE ${separator} "<|endoftext|>\n")
set(list "")
foreach(input ${INPUTS})
  if(list)
    list(APPEND list ${separator})
  endif()
  list(APPEND list ${input})
endforeach()
execute_process(COMMAND ${CAT} ${list} OUTPUT_FILE ${OUTPUT} COMMAND_ERROR_IS_FATAL ANY)
