package record

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/stele-db/stele/gen/stelepb"
)

// options are those of stele/options.proto on one field.
type options struct{ key, index, unique, uuid bool }

// fieldOptions reads the options of a field, however they were compiled.
func fieldOptions(fd protoreflect.FieldDescriptor) options {
	opts := &descriptorpb.FieldOptions{}
	if !reparse(fd.Options(), opts) {
		return options{}
	}
	return options{
		key:    proto.GetExtension(opts, stelepb.E_Key).(bool),
		index:  proto.GetExtension(opts, stelepb.E_Index).(bool),
		unique: proto.GetExtension(opts, stelepb.E_Unique).(bool),
		uuid:   proto.GetExtension(opts, stelepb.E_Uuid).(bool),
	}
}

// messageOptions reads the table's name, "" if there is none, and the composite
// indexes of a message.
func messageOptions(md protoreflect.MessageDescriptor) (table string, indexes []*stelepb.Index) {
	opts := &descriptorpb.MessageOptions{}
	if !reparse(md.Options(), opts) {
		return "", nil
	}
	return proto.GetExtension(opts, stelepb.E_Table).(string),
		proto.GetExtension(opts, stelepb.E_CompositeIndex).([]*stelepb.Index)
}

// reparse copies options into dst by their bytes, so that extensions come out
// as the generated types whatever types the compiler gave them.
func reparse(src, dst proto.Message) bool {
	if src == nil || !src.ProtoReflect().IsValid() {
		return false
	}
	b, err := proto.MarshalOptions{AllowPartial: true}.Marshal(src)
	if err != nil || len(b) == 0 {
		return false
	}
	return proto.UnmarshalOptions{AllowPartial: true}.Unmarshal(b, dst) == nil
}
