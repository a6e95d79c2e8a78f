package stele

import (
	"log/slog"

	"github.com/stele-db/stele/record"
	"github.com/stele-db/stele/slate"
)

// Options say what a database is opened with. Only Tables is usually set.
type Options struct {
	// Tables are the tables that the program uses. Their schemas are stored, or
	// compared with the stored ones, when the database is opened.
	Tables []Model
	// IndexBuildRows is the most rows that a table may have for an index to be
	// added to it when the database is opened. Raised, larger tables can get
	// indexes, and opening takes more memory and time. Default 100,000.
	IndexBuildRows int
	// Engine are the settings of the engine below; see package slate. Its Clock
	// and Logger are taken from here where it has none.
	Engine slate.Options
	// Clock is where time comes from. Default: the machine's.
	Clock slate.Clock
	// Logger is told of background errors that do not end the writer. Default:
	// none.
	Logger *slog.Logger
}

// recordOptions are the options of the record layer.
func (o Options) recordOptions() record.Options {
	return record.Options{IndexBuildRows: o.IndexBuildRows, Clock: o.Clock, Random: o.Engine.Random}
}

// engineOptions are the options of the engine.
func (o Options) engineOptions() slate.Options {
	e := o.Engine
	if e.Clock == nil {
		e.Clock = o.Clock
	}
	if e.Logger == nil {
		e.Logger = o.Logger
	}
	return e
}
