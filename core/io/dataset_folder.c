/* A folder with a folder of PNG or JPEG pictures for each class:
 *
 *     folder/[train/ or test/]CLASS/anything.png
 *
 * Classes are numbered in the order of their names (or as the model numbers
 * them), pictures taken in the order of theirs, so that the same folder gives
 * the same dataset everywhere. Hidden files are passed over, and so are files
 * beside the folders of classes; within one, all must be pictures.
 */
#include "core/io/dataset_formats.h"

#include "core/io/picture.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

static const size_t MAX_PICTURE_FILE = 256 << 20;

typedef struct name_list {
    struct dirent **entries;
    int count;
} name_list;

static int
visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int
by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static soma_status
list(const char *folder, name_list *listing, soma_error *err)
{
    listing->count = scandir(folder, &listing->entries, visible, by_name);
    if (listing->count >= 0)
        return SOMA_OK;
    *listing = (name_list){NULL, 0};
    return soma_error_errno(err, "reading", folder);
}

static void
free_listing(name_list *listing)
{
    for (int i = 0; i < listing->count; i++)
        free(listing->entries[i]);
    free(listing->entries);
}

static soma_status
too_long(const char *path, soma_error *err)
{
    return soma_error_set(err, SOMA_E_ARGUMENT, "%s: the path is too long",
                          path);
}

static bool
holds_folders(const char *path)
{
    name_list names;
    char inside[PATH_MAX];
    bool found = false;
    if (!soma_path_is_folder(path) || list(path, &names, NULL))
        return false;
    for (int i = 0; i < names.count; i++)
        found =
            found || (soma_path_join(path, names.entries[i]->d_name, inside) &&
                      soma_path_is_folder(inside));
    free_listing(&names);
    return found;
}

/* The folder of classes for this split. Folders train and test that hold no
 * folders are two classes. */
static soma_status
split_folder(const char *path, soma_split split, char found[PATH_MAX],
             soma_error *err)
{
    static const char *const names[] = {
        [SOMA_SPLIT_TRAIN] = "train", [SOMA_SPLIT_TEST] = "test"};
    const char *other =
        names[split == SOMA_SPLIT_TRAIN ? SOMA_SPLIT_TEST : SOMA_SPLIT_TRAIN];
    if (soma_path_join(path, names[split], found) && holds_folders(found))
        return SOMA_OK;
    if (soma_path_join(path, other, found) && holds_folders(found))
        return soma_error_set(err, SOMA_E_NOT_FOUND,
                              "%s: has a folder %s of classes, but no folder "
                              "%s",
                              path, other, names[split]);
    int length = snprintf(found, PATH_MAX, "%s", path);
    return length < PATH_MAX ? SOMA_OK : too_long(path, err);
}

bool
soma_folder_probe(const char *path, soma_split split)
{
    (void)split;
    return holds_folders(path);
}

/* The shape of the first picture, if the options leave it open. */
static soma_status
decide_shape(const soma_picture *picture, const char *path,
             const soma_dataset_options *options, soma_dataset *dataset,
             soma_error *err)
{
    int grey[] = {picture->height, picture->width};
    int colour[] = {3, picture->height, picture->width};
    int rank = options->rank;
    if (rank && rank != 2 &&
        (rank != 3 || (options->shape[0] != 1 && options->shape[0] != 3)))
        return soma_error_set(err, SOMA_E_SHAPE,
                              "pictures need an input of [height, width] or "
                              "[1 or 3, height, width], not one of %d "
                              "dimension%s",
                              rank, rank == 1 ? "" : "s");
    if (rank)
        return soma_dataset_shape(dataset, rank, options->shape, path, err);
    return picture->channels == 1
               ? soma_dataset_shape(dataset, 2, grey, path, err)
               : soma_dataset_shape(dataset, 3, colour, path, err);
}

static soma_status
make_room(soma_dataset *dataset, int *room, soma_error *err)
{
    if (dataset->count < *room)
        return SOMA_OK;
    int wanted = *room ? *room * 2 : 256;
    if (*room > INT_MAX / 2)
        return soma_error_set(err, SOMA_E_LIMIT, "more than %d pictures",
                              *room);
    size_t size = (size_t)dataset->size;
    uint8_t *bytes = realloc(dataset->bytes, (size_t)wanted * size);
    if (bytes)
        dataset->bytes = bytes;
    int *labels = realloc(dataset->labels, (size_t)wanted * sizeof *labels);
    if (labels)
        dataset->labels = labels;
    if (!bytes || !labels)
        return soma_error_memory(err, "pictures");
    *room = wanted;
    return SOMA_OK;
}

static soma_status
keep(const soma_picture *picture, int label, int *room, soma_dataset *dataset,
     soma_error *err)
{
    soma_status status = make_room(dataset, room, err);
    if (status)
        return status;
    int rank = dataset->rank;
    size_t size = (size_t)dataset->size;
    float *planes = malloc(size * sizeof *planes);
    if (!planes)
        return soma_error_memory(err, "a picture");
    status = soma_picture_planes(picture, rank == 2 ? 1 : dataset->shape[0],
                                 dataset->shape[rank - 2],
                                 dataset->shape[rank - 1], planes, err);
    uint8_t *to = dataset->bytes + (size_t)dataset->count * size;
    for (size_t i = 0; i < size && !status; i++)
        to[i] = (uint8_t)planes[i];
    free(planes);
    dataset->labels[dataset->count] = label;
    dataset->count += !status;
    return status;
}

static soma_status
add_picture(const char *path, int label, int *room,
            const soma_dataset_options *options, soma_dataset *dataset,
            soma_error *err)
{
    soma_bytes file;
    soma_picture picture;
    if (soma_path_is_folder(path))
        return soma_error_set(err, SOMA_E_FORMAT,
                              "%s: a folder, expected pictures here", path);
    soma_status status = soma_file_read(path, MAX_PICTURE_FILE, 0, &file, err);
    if (status)
        return status;
    status = soma_picture_decode(file.data, file.size, &picture, err);
    soma_bytes_free(&file);
    if (!status && dataset->rank == 0)
        status = decide_shape(&picture, path, options, dataset, err);
    if (!status)
        status = keep(&picture, label, room, dataset, err);
    soma_picture_free(&picture);
    if (status)
        soma_error_prefix(err, "%s", path);
    return status;
}

static soma_status
add_class(const char *folder, int label, int *room,
          const soma_dataset_options *options, soma_dataset *dataset,
          soma_error *err)
{
    name_list files;
    soma_status status = list(folder, &files, err);
    for (int i = 0; i < files.count && !status; i++) {
        char path[PATH_MAX];
        int length = snprintf(path, sizeof path, "%s/%s", folder,
                              files.entries[i]->d_name);
        status = length < PATH_MAX
                     ? add_picture(path, label, room, options, dataset, err)
                     : too_long(folder, err);
    }
    free_listing(&files);
    return status;
}

/* The model's classes, or the names of the folders. */
static soma_status
name_classes(const name_list *folders, const char *root,
             const soma_classes *known, soma_classes *classes, soma_error *err)
{
    char path[PATH_MAX];
    if (known)
        return soma_classes_copy(classes, known, err);
    classes->names = calloc((size_t)folders->count + 1, sizeof(char *));
    if (!classes->names)
        return soma_error_memory(err, "names of classes");
    for (int i = 0; i < folders->count; i++) {
        const char *name = folders->entries[i]->d_name;
        if (!soma_path_join(root, name, path) || !soma_path_is_folder(path))
            continue;
        classes->names[classes->count] = strdup(name);
        if (!classes->names[classes->count])
            return soma_error_memory(err, "names of classes");
        classes->count++;
    }
    return SOMA_OK;
}

static soma_status
add_folder(const char *folder, const char *name, int *room,
           const soma_dataset_options *options, soma_dataset *dataset,
           soma_error *err)
{
    char known[200];
    int label = soma_classes_find(&dataset->classes, name);
    if (label >= 0)
        return add_class(folder, label, room, options, dataset, err);
    return soma_error_set(
        err, SOMA_E_NOT_FOUND, "%s: no class \"%.60s\", there are %s", folder,
        name, soma_classes_list(&dataset->classes, known, sizeof known));
}

soma_status
soma_folder_open(const char *path, const soma_dataset_options *options,
                 soma_dataset *dataset, soma_error *err)
{
    char root[PATH_MAX], folder[PATH_MAX];
    name_list names;
    int room = 0;
    soma_status status = split_folder(path, options->split, root, err);
    if (status)
        return status;
    status = list(root, &names, err);
    if (!status)
        status = name_classes(&names, root, soma_dataset_known(options),
                              &dataset->classes, err);
    for (int i = 0; i < names.count && !status; i++) {
        const char *name = names.entries[i]->d_name;
        if (soma_path_join(root, name, folder) && soma_path_is_folder(folder))
            status = add_folder(folder, name, &room, options, dataset, err);
    }
    dataset->label_count = dataset->classes.count;
    free_listing(&names);
    return status;
}
