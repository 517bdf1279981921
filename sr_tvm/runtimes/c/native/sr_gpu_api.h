/* The functions of the header that only networks for a device have. Included by sr_network.h. */
#ifndef SR_GPU_API_H
#define SR_GPU_API_H

#define SR_TEXT2(name) #name
#define SR_TEXT(name) SR_TEXT2(name)

int SR_API(_create_on)(int32_t version, int32_t threads, const SR_API(_options) *options, sr_network **network) {
  if (network) *network = NULL;
  if (!options) return SR_ERROR_NULL;
  if (options->text && options->text_bytes) options->text[0] = 0;
  if (version == SR_VERSION && (options->device < SR_AUTO || options->device > SR_OPENCL)) return SR_ERROR_OPTION;
  int status = sr_make_network(version, threads, network);
  if (status) return status;
  sr_gpu *gpu = &(*network)->gpu;
  if (options->device == SR_CPU)
    sr_say(&gpu->why, "the CPU was asked for");
  else
    sr_gpu_start(gpu, SR_TEXT(SR_NAME), options->library, options->name, options->cache, options->device == SR_OPENCL);
  if (options->text && options->text_bytes) {
    size_t size = gpu->why.used < options->text_bytes ? gpu->why.used : options->text_bytes - 1;
    memcpy(options->text, gpu->why.text, size);
    options->text[size] = 0;
  }
  if (options->device != SR_OPENCL || gpu->works) return SR_OK;
  SR_API(_destroy)(*network);
  *network = NULL;
  return SR_ERROR_DEVICE;
}

int SR_API(_create)(int32_t version, int32_t threads, sr_network **network) {
  const SR_API(_options) automatic = {SR_AUTO, NULL, NULL, NULL, NULL, 0};
  if (!network) return SR_ERROR_NULL;
  return SR_API(_create_on)(version, threads, &automatic, network);
}

int SR_API(_get_device)(sr_network *network, int32_t height, int32_t width, SR_API(_device) *device) {
  if (!network || !device) return SR_ERROR_NULL;
  if (sr_check_size(height, width)) return SR_ERROR_SIZE;
  sr_gpu *gpu = &network->gpu;
  int works = __atomic_load_n(&gpu->works, __ATOMIC_ACQUIRE), takes = sr_gpu_takes(gpu, height, width);
  SR_API(_device) found = {takes ? SR_OPENCL : SR_CPU, sr_the_cl_program.height, sr_the_cl_program.width, gpu->cache,
                           gpu->device.name, gpu->device.driver, ""};
  if (!takes) found.why = works ? "the picture is lower or narrower than the kernels' tiles" : gpu->why.text;
  *device = found;
  return SR_OK;
}

#endif
