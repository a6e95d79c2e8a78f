package stele_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/stele-db/stele"
)

// A Customer is found by a value that no other one has.
type Customer struct {
	ID    string `stele:"key"`
	Email string `stele:"unique"`
}

// An Order is found by when it came, whatever the time zone it was written in.
type Order struct {
	ID   int64     `stele:"key"`
	Date time.Time `stele:"index"`
}

// A Session is found by a value that many have.
type Session struct {
	ID     string `stele:"key"`
	Status string `stele:"index"`
}

var (
	Customers     = stele.NewTable[Customer, string]("customer")
	CustomerEmail = stele.FieldOf[string](Customers, "email")

	Orders    = stele.NewTable[Order, int64]("order")
	OrderDate = stele.FieldOf[time.Time](Orders, "date")

	Sessions      = stele.NewTable[Session, string]("session")
	SessionStatus = stele.FieldOf[string](Sessions, "status")
)

// Users by email, orders by date, sessions by status: what a primary key alone
// does not find.
func Example_listByField() {
	ctx := context.Background()
	db, err := stele.Open(ctx, memURL(), stele.Options{Tables: []stele.Model{Customers, Orders, Sessions}})
	if err != nil {
		log.Fatal(err)
	}
	defer closeDB(db)

	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tokyo := time.FixedZone("JST", 9*60*60)
	err = db.Update(ctx, func(tx *stele.Tx) error {
		for _, c := range []Customer{{"c1", "ann@example.com"}, {"c2", "bo:b@example.com"}} { // a colon separates nothing
			if err := Customers.Insert(ctx, tx, &c); err != nil {
				return err
			}
		}
		for _, o := range []Order{{9, noon}, {10, noon.Add(-1)}, {11, noon.Add(time.Hour).In(tokyo)}, {12, noon.AddDate(-60, 0, 0)}} {
			if err := Orders.Insert(ctx, tx, &o); err != nil {
				return err
			}
		}
		for _, s := range []Session{{"s1", "open"}, {"s2", "opened"}, {"s3", "open"}} {
			if err := Sessions.Insert(ctx, tx, &s); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}

	c, err := Customers.Where(CustomerEmail.Eq("bo:b@example.com")).First(ctx, db)
	fmt.Println(c.ID, err)
	for o, err := range Orders.Where(OrderDate.Ge(noon.AddDate(-1, 0, 0))).OrderBy(OrderDate).Rows(ctx, db) {
		fmt.Println(o.ID, o.Date.Format(time.RFC3339Nano), err)
	}
	for s, err := range Sessions.Where(SessionStatus.Eq("open")).Rows(ctx, db) {
		fmt.Println(s.ID, err)
	}
	// Output:
	// c2 <nil>
	// 10 2026-03-01T11:59:59.999999999Z <nil>
	// 9 2026-03-01T12:00:00Z <nil>
	// 11 2026-03-01T13:00:00Z <nil>
	// s1 <nil>
	// s3 <nil>
}
