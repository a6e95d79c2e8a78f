package bucket

import (
	"fmt"
	"syscall"
)

// fsNames are the file systems that are met without hard links.
var fsNames = map[int64]string{
	0x4d44:     "FAT",
	0x2011bab0: "exFAT",
	0x65735546: "FUSE",
	0xff534d42: "CIFS",
	0xfe534d42: "SMB",
	0x01021997: "9P",
}

// fsName describes the file system of path for an error, with a leading
// space.
func fsName(path string) string {
	var st syscall.Statfs_t
	if err := syscall.Statfs(path, &st); err != nil {
		return ""
	}
	kind := int64(uint32(st.Type)) // the type differs by architecture
	if name, ok := fsNames[kind]; ok {
		return fmt.Sprintf(" (%s)", name)
	}
	return fmt.Sprintf(" (file system type %#x)", kind)
}
