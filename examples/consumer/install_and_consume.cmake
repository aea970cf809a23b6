# Installs into a temporary prefix and uses the installed files alone: through find_package, through
# pkg-config, and as the installed program. Variables: see ../CMakeLists.txt.
function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE out ERROR_VARIABLE out)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "exit ${status}: ${ARGN}\n${out}")
  endif()
  set(output "${out}" PARENT_SCOPE)
endfunction()
function(expect expected)
  if(NOT output MATCHES "${expected}")
    message(FATAL_ERROR "expected '${expected}', got: ${output}")
  endif()
endfunction()

file(REMOVE_RECURSE "${WORK}")
run("${CMAKE_COMMAND}" --install "${BUILD}" --prefix "${WORK}/first")
# Moved after the installation: nothing in it may name the place it was installed to.
file(RENAME "${WORK}/first" "${WORK}/prefix")
set(prefix "${WORK}/prefix")
file(COPY "${SOURCE}/main.cc" "${SOURCE}/CMakeLists.txt" DESTINATION "${WORK}/consumer")

run("${prefix}/bin/msa" --version)
expect("${VERSION}")

set(text "Who designed the bridge?")
set(answer "^msa ${VERSION}: 5 tokens")
run("${CMAKE_COMMAND}" -S "${WORK}/consumer" -B "${WORK}/cmake" "-DCMAKE_PREFIX_PATH=${prefix}"
    "-DCMAKE_CXX_COMPILER=${CXX}" -DCMAKE_BUILD_TYPE=Release)
run("${CMAKE_COMMAND}" --build "${WORK}/cmake")
run("${WORK}/cmake/consumer" "${TOKENIZER}" "${text}")
expect("${answer}")

set(ENV{PKG_CONFIG_PATH} "${prefix}/${LIBDIR}/pkgconfig")
run(pkg-config --modversion msa)
expect("^${VERSION}")
run(pkg-config --cflags --libs msa)
separate_arguments(flags UNIX_COMMAND "${output}")
string(STRIP "${flags}" flags)
run("${CXX}" -std=c++20 "${WORK}/consumer/main.cc" -o "${WORK}/with_pkg_config" ${flags})
set(ENV{LD_LIBRARY_PATH} "${prefix}/${LIBDIR}")
run("${WORK}/with_pkg_config" "${TOKENIZER}" "${text}")
expect("${answer}")
