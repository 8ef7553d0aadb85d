package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"
)

// kind is what a directory holds; its text is the folder of all of them.
type kind string

const (
	volumes   kind = "volumes"
	snapshots kind = "snapshots"
	groups    kind = "groups"
)

// record is what is kept of a volume or a snapshot beside its content, and of a group of snapshots, whose folder is empty.
type record struct {
	Handle string    `json:"handle"`
	Kind   kind      `json:"kind"`
	Source string    `json:"source,omitempty"` // handle of what it was copied from
	Group  string    `json:"group,omitempty"`  // handle of the group that a snapshot was taken with
	Bytes  int64     `json:"bytes"`
	Made   time.Time `json:"made"`
}

// disk keeps directories below one folder. Its methods may be called at the same time.
type disk struct {
	folder string
	mutex  sync.Mutex
}

// Names come from the sidecars, handles from anybody who writes a VolumeSnapshotContent.
var plain = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,200}$`)

var errName = errors.New("is not a name that a directory can have")

func openDisk(folder string) (*disk, error) {
	for _, name := range []string{string(volumes), string(snapshots), string(groups), "records", "faults", "unfinished"} {
		if err := os.MkdirAll(filepath.Join(folder, name), 0o755); err != nil {
			return nil, err
		}
	}
	return &disk{folder: folder}, nil
}

// handleOf derives the handle from the name, so that a repeated call finds what the first one made; and makes it differ
// from the name, so that a test notices when one is taken for the other.
func handleOf(kind kind, name string) string {
	switch kind {
	case snapshots:
		return "copy-" + name
	case groups:
		return "group-" + name
	default:
		return "directory-" + name
	}
}

func (d *disk) content(kind kind, handle string) string {
	return filepath.Join(d.folder, string(kind), handle)
}

func (d *disk) record(handle string) string {
	return filepath.Join(d.folder, "records", handle+".json")
}

// find returns nil without an error when there is no such thing.
func (d *disk) find(kind kind, handle string) (*record, error) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return d.read(kind, handle)
}

func (d *disk) read(kind kind, handle string) (*record, error) {
	if !plain.MatchString(handle) {
		return nil, nil
	}
	text, err := os.ReadFile(d.record(handle))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found record
	if err := json.Unmarshal(text, &found); err != nil {
		return nil, fmt.Errorf("%s: %w", d.record(handle), err)
	}
	if found.Kind != kind {
		return nil, nil
	}
	return &found, nil
}

// make returns what there is of that name, or makes it: empty, or as a copy of `from`.
func (d *disk) make(kind kind, name string, bytes int64, from *record) (*record, error) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return d.write(kind, name, record{Bytes: bytes, Made: time.Now().UTC()}, from)
}

// write is make with all that the record shall say.
func (d *disk) write(kind kind, name string, what record, from *record) (*record, error) {
	handle := handleOf(kind, name)
	if !plain.MatchString(handle) {
		return nil, fmt.Errorf("%q %w", name, errName)
	}
	if found, err := d.read(kind, handle); found != nil || err != nil {
		return found, err
	}
	made := &what
	made.Handle, made.Kind = handle, kind
	// The content first and under another name: a record stands for a complete copy.
	unfinished := filepath.Join(d.folder, "unfinished", handle)
	if err := os.RemoveAll(unfinished); err != nil {
		return nil, err
	}
	if err := os.Mkdir(unfinished, 0o777); err != nil {
		return nil, err
	}
	if from != nil {
		made.Source = from.Handle
		if err := os.CopyFS(unfinished, os.DirFS(d.content(from.Kind, from.Handle))); err != nil {
			return nil, err
		}
	}
	if err := os.RemoveAll(d.content(kind, handle)); err != nil {
		return nil, err
	}
	if err := os.Rename(unfinished, d.content(kind, handle)); err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(made, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(d.record(handle), text, 0o644); err != nil {
		return nil, err
	}
	return made, nil
}

// makeGroup returns the group of that name, or copies all directories into one: all of one instant.
func (d *disk) makeGroup(name string, from []*record) (*record, error) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	handle := handleOf(groups, name)
	if found, err := d.read(groups, handle); found != nil || err != nil {
		return found, err
	}
	now := time.Now().UTC()
	var made []*record
	for _, volume := range from {
		what := record{Group: handle, Bytes: volume.Bytes, Made: now}
		snapshot, err := d.write(snapshots, name+"-"+volume.Handle, what, volume)
		if err != nil {
			// All of them or none.
			for _, snapshot := range made {
				err = errors.Join(err, d.erase(snapshot))
			}
			return nil, err
		}
		made = append(made, snapshot)
	}
	return d.write(groups, name, record{Made: now}, nil)
}

// removeGroup deletes a group with its snapshots.
func (d *disk) removeGroup(handle string) error {
	list, err := d.all(snapshots)
	if err != nil {
		return err
	}
	for _, snapshot := range list {
		if snapshot.Group == handle {
			if err := d.remove(snapshots, snapshot.Handle); err != nil {
				return err
			}
		}
	}
	return d.remove(groups, handle)
}

// remove deletes; what is not there is as good as deleted.
func (d *disk) remove(kind kind, handle string) error {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	found, err := d.read(kind, handle)
	if found == nil || err != nil {
		return err
	}
	return d.erase(found)
}

func (d *disk) erase(found *record) error {
	if err := os.Remove(d.record(found.Handle)); err != nil {
		return err
	}
	return os.RemoveAll(d.content(found.Kind, found.Handle))
}

// all returns everything of a kind, sorted by handle.
func (d *disk) all(kind kind) ([]*record, error) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	entries, err := os.ReadDir(d.content(kind, ""))
	if err != nil {
		return nil, err
	}
	var list []*record
	for _, entry := range entries {
		found, err := d.read(kind, entry.Name())
		if err != nil {
			return nil, err
		}
		if found != nil {
			list = append(list, found)
		}
	}
	slices.SortFunc(list, func(a, b *record) int { return cmp.Compare(a.Handle, b.Handle) })
	return list, nil
}

// fault returns the text of a file below faults/, and whether there is one.
func (d *disk) fault(name string) (string, bool) {
	text, err := os.ReadFile(filepath.Join(d.folder, "faults", name))
	return string(text), err == nil
}
