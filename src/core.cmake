# pfc_data and pfc_core: what parses outside bytes, draws, measures or plans, and needs no LibTorch, so that it builds fast
# and runs under sanitizers and fuzzers.

# The distributed sets that `pfc data check` knows are built in.
file(GLOB set_files CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/configs/datasets/*.toml)
set(known_sets "")
foreach(set_file IN LISTS set_files)
  file(READ ${set_file} set_text)
  string(APPEND known_sets "R\"toml(${set_text})toml\",")
endforeach()
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${set_files})
configure_file(data/known_sets.h.in ${CMAKE_CURRENT_BINARY_DIR}/generated/data/known_sets.h @ONLY)

file(GLOB augmentations CONFIGURE_DEPENDS data/augmentations/*.cpp)
pfc_library(pfc_data HEADERS data/*.h SOURCES
  base/toml_text.cpp
  data/assemble.cpp
  data/augmentation.cpp
  ${augmentations}
  data/bmp_reader.cpp
  data/check_parts.cpp
  data/contact_sheet.cpp
  data/dataset.cpp
  data/decode_check.cpp
  data/distributed_set.cpp
  data/exclusion_list.cpp
  data/exif.cpp
  data/face/camera.cpp
  data/face/head_view.cpp
  data/face/paint_features.cpp
  data/face/paint_hair.cpp
  data/face/paint_head.cpp
  data/face/paint_occluder.cpp
  data/face/traits.cpp
  data/face_record_writer.cpp
  data/face_selection.cpp
  data/file_stamp.cpp
  data/folder_dataset.cpp
  data/held_out.cpp
  data/image_codec.cpp
  data/image_file.cpp
  data/image_folder.cpp
  data/image_source.cpp
  data/jpeg_reader.cpp
  data/list_name.cpp
  data/loader.cpp
  data/md5.cpp
  data/numpy_pickle.cpp
  data/pairs.cpp
  data/partial_folder.cpp
  data/png_reader.cpp
  data/read_ahead.cpp
  data/rec_dataset.cpp
  data/record_file.cpp
  data/record_index.cpp
  data/record_index_cache.cpp
  data/record_io.cpp
  data/record_shuffle.cpp
  data/resize_image.cpp
  data/record_text.cpp
  data/set_summary.cpp
  data/stream/face_stream.cpp
  data/stream/folder_sink.cpp
  data/stream/folder_source.cpp
  data/stream/lst_source.cpp
  data/stream/rec_sink.cpp
  data/stream/rec_source.cpp
  data/stream/tar_sink.cpp
  data/stream/tar_source.cpp
  data/synthetic_face.cpp
  data/synthetic_set.cpp
  data/tar_reader.cpp
  data/text_lines.cpp
  data/verification_set.cpp
  data/verification_set_writer.cpp
  data/webp_reader.cpp
)
target_include_directories(pfc_data PRIVATE ${CMAKE_CURRENT_BINARY_DIR}/generated)
target_include_directories(pfc_data SYSTEM PRIVATE ${OPENCV_INCLUDE})
target_link_libraries(pfc_data PUBLIC pfc_base
                      PRIVATE PNG::PNG OpenSSL::Crypto PkgConfig::TURBOJPEG PkgConfig::JPEG PkgConfig::WEBP
                              PkgConfig::LIBARCHIVE ${OPENCV_IMGPROC} ${OPENCV_CORE} tomlplusplus::tomlplusplus
                              $<BUILD_INTERFACE:nlohmann_json::nlohmann_json>)

pfc_library(pfc_core HEADERS align/*.h base/program.h base/progress.h base/stop_request.h eval/accept_rate.h eval/chart.h
                             eval/features.h eval/ijb.h eval/ijb_files.h eval/megaface_files.h eval/named_pair.h
                             eval/reject.h eval/report.h eval/roc.h eval/roc_svg.h eval/verification.h formats/onnx_file.h
                             formats/torch_file.h train/config.h train/disk_speed.h train/event_file.h
                             train/manifest.h train/metrics.h train/schedule.h train/torch_centers.h SOURCES
  align/align.cpp
  align/align_images.cpp
  align/detector_graph.cpp
  align/face_detector.cpp
  align/landmark_file.cpp
  base/program.cpp
  base/progress.cpp
  base/stop_request.cpp
  eval/accept_rate.cpp
  eval/chart.cpp
  eval/features.cpp
  eval/ijb_files.cpp
  eval/megaface_files.cpp
  eval/reject.cpp
  eval/report.cpp
  eval/report_html.cpp
  eval/roc.cpp
  eval/roc_svg.cpp
  eval/text_table.cpp
  eval/unit_rows.cpp
  eval/verification.cpp
  eval/verification_json.cpp
  formats/onnx_file.cpp
  formats/onnx_graph.cpp
  formats/onnx_match.cpp
  formats/onnx_reader.cpp
  formats/onnx_tensor.cpp
  formats/torch_archive.cpp
  formats/torch_before_1_6.cpp
  formats/torch_file.cpp
  formats/torch_pickle.cpp
  train/class_map.cpp
  train/config.cpp
  train/config_fields.cpp
  train/disk_speed.cpp
  train/event_file.cpp
  train/manifest.cpp
  train/metrics.cpp
  train/same_run.cpp
  train/schedule.cpp
  train/torch_centers.cpp
)
target_include_directories(pfc_core SYSTEM PRIVATE ${OPENCV_INCLUDE} ${XXHASH_INCLUDE})
target_link_libraries(pfc_core PUBLIC pfc_data pfc_kernels
                      PRIVATE OpenSSL::Crypto PkgConfig::LIBZIP onnx_proto tomlplusplus::tomlplusplus
                              ${OPENCV_DNN} ${OPENCV_IMGPROC} ${OPENCV_CORE} $<BUILD_INTERFACE:nlohmann_json::nlohmann_json>)
set_source_files_properties(formats/onnx_file.cpp PROPERTIES COMPILE_DEFINITIONS PFC_VERSION="${PROJECT_VERSION}")
