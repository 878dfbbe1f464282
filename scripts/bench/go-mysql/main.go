// What Tally is compared with: likes as a plain service keeps them, in MySQL, with one transaction a like.
//
//	go-mysql DSN
//
// PUT /v1/subjects/{type}/{id}/likes/{actor} answers what Tally answers. The actor's row is inserted unless it is there
// already, and only a new row moves the count.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"
)

// As many as the bench has connections: each request has one, and none is opened under load.
const connectionsMax = 64

const triesMax = 10

const (
	deadlock   = 1213
	timeFormat = "2006-01-02T15:04:05.000Z"
)

var schema = []string{
	`CREATE TABLE IF NOT EXISTS likes (
		subject VARBINARY(161) NOT NULL, actor VARBINARY(128) NOT NULL, at_ms BIGINT NOT NULL,
		PRIMARY KEY (subject, actor), INDEX by_actor (actor, at_ms))`,
	`CREATE TABLE IF NOT EXISTS counts (subject VARBINARY(161) NOT NULL PRIMARY KEY, count BIGINT NOT NULL)`,
}

type answer struct {
	Active  bool   `json:"active"`
	Changed bool   `json:"changed"`
	Count   int64  `json:"count"`
	At      string `json:"at"`
}

type server struct{ db *sql.DB }

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: go-mysql DSN")
	}
	db, err := sql.Open("mysql", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	db.SetMaxOpenConns(connectionsMax)
	db.SetMaxIdleConns(connectionsMax)
	for _, statement := range schema {
		if _, err := db.Exec(statement); err != nil {
			log.Fatal(err)
		}
	}

	mux := http.NewServeMux()
	mux.HandleFunc("PUT /v1/subjects/{type}/{id}/likes/{actor}", server{db}.put)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		os.Exit(0)
	}()
	fmt.Printf("{\"msg\":\"listening\",\"url\":\"http://%s\"}\n", listener.Addr())
	log.Fatal(http.Serve(listener, mux))
}

func (s server) put(w http.ResponseWriter, r *http.Request) {
	subject := r.PathValue("type") + "/" + r.PathValue("id")
	answer, err := s.like(r.Context(), subject, r.PathValue("actor"))
	if err != nil {
		log.Print(err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	body, _ := json.Marshal(answer)
	w.Header().Set("Content-Type", "application/json")
	w.Write(body)
}

// like tries again where two first likes of a subject have locked each other out.
func (s server) like(ctx context.Context, subject, actor string) (answer, error) {
	for try := 1; ; try++ {
		answer, err := s.once(ctx, subject, actor)
		var problem *mysql.MySQLError
		if try == triesMax || !errors.As(err, &problem) || problem.Number != deadlock {
			return answer, err
		}
	}
}

func (s server) once(ctx context.Context, subject, actor string) (answer, error) {
	now := time.Now().UTC()
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return answer{}, err
	}
	defer tx.Rollback()
	added, err := tx.ExecContext(ctx, "INSERT IGNORE INTO likes VALUES (?, ?, ?)", subject, actor, now.UnixMilli())
	if err != nil {
		return answer{}, err
	}
	if rows, err := added.RowsAffected(); err != nil || rows == 0 {
		return repeated(ctx, tx, subject, actor, err)
	}
	// LAST_INSERT_ID(…) brings the new count back with the same statement.
	counted, err := tx.ExecContext(ctx, `INSERT INTO counts VALUES (?, LAST_INSERT_ID(1))
		ON DUPLICATE KEY UPDATE count = LAST_INSERT_ID(count + 1)`, subject)
	if err != nil {
		return answer{}, err
	}
	count, err := counted.LastInsertId()
	if err != nil {
		return answer{}, err
	}
	return answer{true, true, count, now.Format(timeFormat)}, tx.Commit()
}

// repeated answers a like that was there already.
func repeated(ctx context.Context, tx *sql.Tx, subject, actor string, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	var count, atMs int64
	row := tx.QueryRowContext(ctx, `SELECT count, at_ms FROM counts JOIN likes USING (subject)
		WHERE subject = ? AND actor = ?`, subject, actor)
	if err := row.Scan(&count, &atMs); err != nil {
		return answer{}, err
	}
	return answer{true, false, count, time.UnixMilli(atMs).UTC().Format(timeFormat)}, tx.Commit()
}
