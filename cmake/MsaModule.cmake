# msa_module(<name> [DEPENDS <module>...] [LIBS <library>...] [SOURCES_FROM <subfolder>...])
#
# Makes one static library msa_<name> of a folder: every x.cc in it (and in the subfolders named) that
# is neither a test nor a benchmark. Neighbouring x_test.cc files become the test program
# msa_<name>_test, x_bench.cc files the benchmark program msa_<name>_bench. DEPENDS is all that the
# folder may include; tests/architecture checks that it includes nothing else.
function(msa_module name)
  cmake_parse_arguments(ARG "" "" "DEPENDS;LIBS;SOURCES_FROM" ${ARGN})
  set(patterns "*.cc")
  foreach(folder IN LISTS ARG_SOURCES_FROM)
    list(APPEND patterns "${folder}/*.cc")
  endforeach()
  file(GLOB all_sources CONFIGURE_DEPENDS ${patterns})
  set(sources ${all_sources})
  list(FILTER sources EXCLUDE REGEX "_(test|bench)\\.cc$")
  set(tests ${all_sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  set(benches ${all_sources})
  list(FILTER benches INCLUDE REGEX "_bench\\.cc$")

  set(dependencies "")
  foreach(dependency IN LISTS ARG_DEPENDS)
    list(APPEND dependencies msa_${dependency})
  endforeach()

  if(sources)
    add_library(msa_${name} STATIC ${sources})
    target_link_libraries(msa_${name} PUBLIC msa_settings fmt::fmt ${dependencies}
                                      PRIVATE ${ARG_LIBS})
  else()
    add_library(msa_${name} INTERFACE)
    target_link_libraries(msa_${name} INTERFACE msa_settings fmt::fmt ${dependencies})
  endif()

  if(MSA_TESTS AND tests)
    add_executable(msa_${name}_test ${tests})
    target_link_libraries(msa_${name}_test PRIVATE msa_${name} ${ARG_LIBS} GTest::gmock
                                                   GTest::gtest_main)
    target_compile_definitions(msa_${name}_test
                               PRIVATE MSA_TESTDATA="${PROJECT_SOURCE_DIR}/testdata")
    add_test(NAME unit_${name} COMMAND msa_${name}_test)
    set_tests_properties(unit_${name} PROPERTIES LABELS unit TIMEOUT 900)
  endif()
  if(MSA_BENCHMARKS AND benches)
    add_executable(msa_${name}_bench ${benches})
    target_link_libraries(msa_${name}_bench PRIVATE msa_${name} ${ARG_LIBS}
                                                    benchmark::benchmark_main)
  endif()
endfunction()
