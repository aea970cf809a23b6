# Runs the examples in sequence and checks what they print. Variables: see CMakeLists.txt.
function(run expected)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE out ERROR_VARIABLE err)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "exit ${status}: ${ARGN}\n${out}${err}")
  endif()
  if(NOT out MATCHES "${expected}")
    message(FATAL_ERROR "'${expected}' is not in the output of ${ARGN}:\n${out}${err}")
  endif()
  message(STATUS "${out}")
endfunction()

file(REMOVE_RECURSE "${WORK}")
file(MAKE_DIRECTORY "${WORK}/notes")
file(WRITE "${WORK}/notes/bridge.md" "# The bridge\n\nAda Stone designed the bridge in 1931.\n")
file(WRITE "${WORK}/notes/mill.txt" "The mill stands by the river. It has not turned since 1950.\n")
file(WRITE "${WORK}/notes/more.jsonl"
     "{\"id\": \"ferry\", \"title\": \"The ferry\", \"text\": \"The ferry leaves at noon.\"}\n")

set(question "Who designed the bridge?")
run("" "${MSA}" model init "${WORK}/model" --shape tiny --tokenizer "${TOKENIZER}")
run("^3 passages.* 0 were there already" "${ENCODE}" "${WORK}/model" "${WORK}/bank"
    "${WORK}/notes")
run("^0 passages.* 3 were there already" "${ENCODE}" "${WORK}/model" "${WORK}/bank"
    "${WORK}/notes")
run("^2 router layers.*The bridge" "${ROUTE}" "${WORK}/model" "${WORK}/bank" "${question}")
run("from:.*\\[[0-2]\\].*routing" "${ANSWER}" "${WORK}/model" "${WORK}/bank" "${question}")

# An error is an exit code and a message that names the file, not a crash.
execute_process(COMMAND "${ROUTE}" "${WORK}/model" "${WORK}/absent" "${question}"
                RESULT_VARIABLE status ERROR_VARIABLE err)
if(NOT status EQUAL 1 OR NOT err MATCHES "absent")
  message(FATAL_ERROR "a missing bank: exit ${status}: ${err}")
endif()
